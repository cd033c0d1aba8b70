"""What a person finds on the run of a challenger: the search's trials, and the rows that a group kept out."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from baton.flows import retrain as flow
from baton.registry.lease import hold

pytestmark = pytest.mark.usefixtures("prefect_in_process")
SECOND = datetime(2024, 4, 22, tzinfo=timezone.utc)
SEARCHED: dict[str, Any] = {
    "training": {
        "group": "kilometres",
        "tuning": {"trials": 2, "space": {"num_leaves": [5, 7]}},
        "parameters": {"n_estimators": 20},
    }
}


def test_a_run_shows_what_its_search_tried_and_what_its_groups_left_out(parcels: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    with hold(parcels.ledger.leases, "parcels/retrain/searched", "me") as held:
        record = flow.retrain(parcels, as_of=SECOND, trigger="searched", overrides=SEARCHED, held=held)
    client = MlflowClient(tracking_uri=parcels.mlflow_uri)
    run = client.get_run(client.get_model_version("parcels", record.version).run_id)
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "trials.json", str(tmp_path))).read_bytes())
    assert {"trial", "num_leaves", "log_loss", "seconds"} <= set(table["columns"])
    assert [row[0] for row in table["data"]] == [0, 1]
    assert run.data.params["num_leaves"] in {"5", "7"}
    assert int(run.data.params["left_out_rows"]) >= int(run.data.params["left_out_groups"]) > 0
