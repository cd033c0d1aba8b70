"""The same model behind FastAPI and uvicorn without batching: what `bench/batching.py` compares with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException

from baton.packaging.manifest import MODEL
from baton.packaging.reader import open_contents
from baton.packaging.scorer import Scorer
from baton.serving.request_schema import RequestRefused, parse_rows

app = FastAPI()
_contents = open_contents(Path(os.environ["BENCH_BUNDLE"]))
_scorer = Scorer(_contents.files[MODEL])


@app.post("/predict")
async def predict(body: dict[str, list[dict[str, Any]]]) -> list[float]:
    """Score each row, on the event loop: the model takes microseconds."""
    try:
        return [float(score) for score in _scorer.score(parse_rows(body["rows"], _contents.bundle.fields))]
    except RequestRefused as error:
        raise HTTPException(422, str(error)) from error
