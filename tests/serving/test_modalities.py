"""The same rows, asked in every way."""

import asyncio
import json

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from baton.serving.app import create_app
from baton.serving.batch_score import score_file
from baton.serving.serving_settings import ServingSettings
from baton.serving.stream_scoring import StreamScoring
from baton.serving.stream_settings import StreamSettings


class _Message:
    """A message that keeps its answer."""

    id, attempt = "m", 1

    def __init__(self, content):
        self.content, self.answer = content, b""

    async def publish(self, _subject, content, _headers):
        self.answer = content
        return True

    async def done(self):
        return None

    async def again(self):
        raise AssertionError


def test_the_same_rows_have_the_same_bytes_of_prediction_in_every_way(state, release, sealed, tmp_path):
    release(0)
    rows = sealed.requests
    tensors = [
        {
            "name": name,
            "datatype": "BYTES" if name == "carrier" else "FP64",
            "shape": [len(rows), 1],
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")

    async def story():
        app = create_app(lambda: ServingSettings(folder=state, model="flights"))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
        ):
            rest = (await client.post("/v1/models/flights/predict", json={"rows": rows})).json()["predictions"]
            alone = [
                (await client.post("/v1/models/flights/predict", json={"rows": [row]})).json()["predictions"][0]
                for row in rows[:20]
            ]
            v2 = (await client.post("/v2/models/flights/infer", json={"inputs": tensors})).json()["outputs"]
            engine = app.state.engine
            message = _Message(json.dumps({"rows": rows}).encode())
            settings = StreamSettings(url="nats://h", source="rows", target="scores")
            await StreamScoring(engine, settings).take(message)
            score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", engine.champion.current)
        return rest, alone, v2, json.loads(message.answer)["predictions"]

    rest, alone, v2, stream = asyncio.run(story())
    expected = np.array([each["score"] for each in rest]).tobytes()
    assert np.array([each["score"] for each in alone]).tobytes() == expected[: 20 * 8]
    assert np.array(next(each["data"] for each in v2 if each["name"] == "score")).tobytes() == expected
    assert np.array([each["score"] for each in stream]).tobytes() == expected
    assert np.array(pq.read_table(tmp_path / "out.parquet")["score"]).tobytes() == expected
