"""The same model behind BentoML's own batching, with its defaults: what `bench/batching.py` compares with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from baton.packaging.manifest import MODEL
from baton.packaging.reader import open_contents
from baton.packaging.scorer import Scorer
from baton.serving.request_schema import parse_rows


@bentoml.service(workers=1)
class BentoBatching:
    """Scores rows in BentoML's batches."""

    def __init__(self) -> None:
        contents = open_contents(Path(os.environ["BENCH_BUNDLE"]))
        self._fields = contents.bundle.fields
        self._scorer = Scorer(contents.files[MODEL])

    @bentoml.api(batchable=True)  # type: ignore[untyped-decorator] # BentoML's has no types
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Score each row."""
        return list(map(float, self._scorer.score(parse_rows(rows, self._fields))))
