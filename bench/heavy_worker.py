"""The worker of a model that takes 5 ms for any batch and 0.1 ms for each row, however small the graph is.

It sleeps that long, so what is measured beside it is batching and admission
and not this machine's processor.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from baton.packaging.rows import Rows
from baton.serving import worker
from baton.serving.predictor import Predictor

BATCH_S, ROW_S = 5e-3, 1e-4
score = Predictor.score


def heavily(self: Predictor, rows: Rows) -> NDArray[np.float64]:
    """Score rows, and take as long as a heavy model would."""
    time.sleep(BATCH_S + ROW_S * len(rows))
    return score(self, rows)


if __name__ == "__main__":
    Predictor.score = heavily  # type: ignore[method-assign] # the service has no slow model, so one is made
    sys.exit(worker.main())
