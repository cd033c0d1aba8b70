"""The whole loop on a tiny project, by the command line alone: trained, served, watched, replaced and put back."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

from baton.serving.client import PredictionClient

FIRST, SECOND = "2024-02-26", "2024-04-22"
PARCEL = {"depot": "east", "kilometres": 50.0, "kilograms": 29.0, "depot_late_7d": 0.3}


def test_the_loop_from_the_first_champion_to_the_rollback(parcels: Any, four_ports: list[int], wait_until: Any) -> None:
    parcels.ask("ingest", "--as-of", FIRST)
    first = parcels.ask_json("train", "--as-of", FIRST)
    assert (first["version"], first["decision"], first["epoch"]) == ("1", "PROMOTE", 1)

    port = four_ports[0]
    service = parcels.start("serve", "--port", str(port))
    try:
        assert "is up, ready" in service.stdout.readline()
        with PredictionClient(f"http://127.0.0.1:{port}", model="parcels") as client:
            light = serve_april(client)
            wait_until(lambda: watched(parcels)["drift"]["rows"] == len(APRIL), 30)
            assert watched(parcels)["drift"]["digest"] == parcels.ledger()[0][2]

            parcels.ask("ingest", "--as-of", SECOND)
            second = parcels.ask_json("train", "--as-of", SECOND)
            assert (second["version"], second["decision"], second["epoch"]) == ("2", "PROMOTE", 2)
            wait_until(lambda: client.describe().epoch == 2, 10)
            heavy = client.predict([PARCEL])
            assert heavy.version == "2"
            assert heavy.scores[0] > light

            again = parcels.ask_json("train", "--as-of", SECOND)
            assert (again["version"], again["verdict"]) == (second["version"], second["verdict"])
            assert [entry[0] for entry in parcels.ledger()] == [1, 2]

            parcels.ask("rollback", "--reason", "a customer complains")
            wait_until(lambda: client.describe().epoch == 3, 10)
            assert client.predict([PARCEL]).version == "1"
            assert client.predict([PARCEL]).scores[0] == light
    finally:
        service.send_signal(signal.SIGINT)
        service.communicate(timeout=30)
    assert service.returncode == 0

    assert [entry[:2] for entry in parcels.ledger()] == [(1, "1"), (2, "2"), (3, "1")]
    assert "a customer complains" in parcels.ask("status")
    assert "PROMOTE" in parcels.ask("why", "2")
    assert "version 1, epoch 3" in parcels.ask("reconcile")
    named = versions(parcels)
    assert named.keys() == {"1", "2"}
    assert "champion" in named["1"]
    assert "champion" not in named["2"]


APRIL = [datetime(2024, 4, day, tzinfo=timezone.utc) for day in range(10, 21) for _ in range(20)]


def serve_april(client: PredictionClient) -> float:
    """Ask about many parcels of April, and give the score of a heavy one."""
    rows = [{**PARCEL, "kilometres": float(number % 90), "kilograms": number % 30} for number in range(len(APRIL))]
    client.predict(rows, entities=[f"p{number:05d}" for number in range(len(APRIL))], moments=APRIL)
    return client.predict([PARCEL]).scores[0]


def watched(parcels: Any) -> dict[str, Any]:
    process = parcels.start("watch", "--as-of", SECOND, "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode in {0, 1, 2}, err
    return json.loads(out) if out else {"drift": {"rows": 0}}


def versions(parcels: Any) -> dict[str, str]:
    """Give MLflow's versions that were not abandoned, each with its aliases."""
    with closing(sqlite3.connect(parcels.folder / "mlflow" / "mlflow.db")) as database:
        found = [str(row[0]) for row in database.execute("SELECT version FROM model_versions ORDER BY version")]
        left = {
            str(row[0]) for row in database.execute("SELECT version FROM model_version_tags WHERE key LIKE '%abandon%'")
        }
        aliases = list(database.execute("SELECT alias, version FROM registered_model_aliases ORDER BY alias"))
    return {
        version: ", ".join(alias for alias, named in aliases if str(named) == version)
        for version in found
        if version not in left
    }
