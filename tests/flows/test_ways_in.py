"""A project's champion, asked in each way: by entity, by file, and by whole rows."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from baton.serving.app import create_app
from baton.serving.serving_settings import ServingSettings

BATON = Path(sys.executable).with_name("baton")
TINY = Path(__file__).parents[1] / "cases" / "tiny"
AS_OF = pd.Timestamp("2024-04-22", tz="UTC")


def _baton(*words: object, home: Path) -> str:
    command = [BATON, *map(str, words), "--project", TINY, "--home", home]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_entities_files_and_rows_have_the_same_answers(parcels, tmp_path):
    """E18: for every depot, the online values are those of the offline join, and so are the scores."""
    home = parcels.settings.home
    _baton("materialize", "--as-of", AS_OF.date(), home=home)
    orders = parcels.landing.read("orders", as_of=AS_OF.to_pydatetime())
    asked = pd.DataFrame(
        {"depot": [*sorted(orders["depot"].unique()), "nowhere"], "kilometres": 120.0, "kilograms": 3.0}
    )
    joined = parcels.store.historical(asked.assign(now=AS_OF - timedelta(seconds=1)), moment="now").drop(columns="now")
    joined.assign(parcel_id=[f"p{at}" for at in range(len(joined))]).to_parquet(tmp_path / "in.parquet")

    told = json.loads(_baton("score", tmp_path / "in.parquet", tmp_path / "out.parquet", "--json", home=home))
    keyed, whole = asyncio.run(_ask(parcels, asked, joined))

    out = pq.read_table(tmp_path / "out.parquet")
    assert told["scored"] == len(asked)
    assert out["id"].to_pylist() == [f"p{at}" for at in range(len(asked))]
    assert out["depot"].to_pylist() == asked["depot"].to_list()
    scores = [each["score"] for each in whole["predictions"]]
    assert np.array(out["score"]).tobytes() == np.array(scores).tobytes()
    assert [each["score"] for each in keyed["predictions"]] == scores
    assert set(out["digest"].to_pylist()) == {whole["digest"]}
    assert [each.get("missing") for each in keyed["predictions"]][-1] == {"depot_rate": "unknown"}


async def _ask(parcels, asked, joined):
    app = create_app(lambda: ServingSettings(folder=parcels.folder, model="parcels", online_ms=2_000))
    rows = [
        {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
        for row in joined.to_dict("records")
    ]
    bodies = (
        {
            "entities": [{"depot": depot} for depot in asked["depot"]],
            "rows": asked.to_dict("records"),
            "moments": [AS_OF.isoformat()] * len(asked),
        },
        {"rows": rows},
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        answers = [await client.post("/v1/models/parcels/predict", json=body) for body in bodies]
    assert [each.status_code for each in answers] == [200, 200], [each.text for each in answers]
    return [each.json() for each in answers]
