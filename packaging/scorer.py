"""A verified ONNX model, ready to answer: the same code proves parity and serves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import IntegrityBroken
from baton.packaging.rows import Rows

NUMBERS_INPUT = "numbers"
TEXTS_INPUT = "texts"
SCORE_OUTPUT = "score"
# ONNX Runtime's severities: 3 is errors only.
QUIET = 3


class Scorer:
    """One ONNX Runtime session on one thread.

    More threads make a row of a small model slower, and tens of times slower
    where they are more than the cores.
    """

    def __init__(self, onnx: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # The runtime's exceptions share no public base.
            raise IntegrityBroken(
                what="the model cannot be loaded", why=f"ONNX Runtime says {error}", fix="seal the model again"
            ) from error
        self._inputs = frozenset(each.name for each in self._session.get_inputs())

    def score(self, rows: Rows) -> NDArray[np.float64]:
        """Give each row's answer.

        Returns:
            Of a binary model the chance of class 1, of a regression the
            number, shape `(rows,)`; of several classes the chance of each,
            shape `(rows, classes)`, each row summing to 1.
        """
        feed = {NUMBERS_INPUT: rows.numbers, TEXTS_INPUT: rows.texts}
        asked = {name: value for name, value in feed.items() if name in self._inputs}
        scores: NDArray[np.float64] = self._session.run([SCORE_OUTPUT], asked)[0].astype(np.float64)
        return scores.reshape(-1) if scores.shape[1] == 1 else scores
