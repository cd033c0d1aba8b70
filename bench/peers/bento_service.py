"""BentoML as its documentation shows it: a batchable method with the default options."""

from __future__ import annotations

from typing import Any

import bentoml
from model import Row, score


@bentoml.service(workers=1)
class BentoBatching:
    """Scores rows in BentoML's batches."""

    @bentoml.api(batchable=True)  # type: ignore[untyped-decorator] # BentoML's has no types
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Score each row."""
        return score([Row.model_validate(row).__dict__ for row in rows])
