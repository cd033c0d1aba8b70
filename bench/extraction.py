"""Copy a model by asking it, with and without the service's limits, and say how faithful the copy is.

    python bench/extraction.py           # a table; JSON=1 for one JSON line each
    DAYS=7 python bench/extraction.py    # the caller comes back so many days

Who copies a model asks it for the scores of rows drawn over the whole range of
each field, and fits a boosted model to them. The copy is judged on rows like
those that the model is for: R2 of the log odds, and how often both say the same
of a row. `BATON_SERVING_DAILY_ROWS` bounds how many answers one caller has,
`BATON_SERVING_SCORE_DECIMALS` how much each tells. `alarms` are those that the
watch for mapping raised meanwhile, for rows that are asked one after the other
as a grid and as random draws.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from printed import Line, print_lines
from served_model import MODEL, drawn_rows, sealed

from baton.packaging.reader import open_contents
from baton.packaging.rows import Rows, rows_from_frame
from baton.packaging.scorer import Scorer
from baton.serving.extraction import ExtractionWatch

SEED = 20
UNLIMITED = 50_000
DAYS = int(os.environ.get("DAYS", "1"))
JUDGED = 5_000
SLICE = 1_000
# A decision takes the upper fifth.
CHOSEN = 0.8
# Rows a day and decimals; the first line is a service without limits.
LIMITS = ((UNLIMITED, None), (UNLIMITED, 3), (UNLIMITED, 1), (5_000, 3), (1_000, 3), (1_000, 1))


def main() -> None:
    """Copy under each limit and print how well it went."""
    # The alarms are counted, and need not be told one by one.
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        bundle = sealed(Path(name) / MODEL)
        contents = open_contents(next((Path(name) / MODEL / "bundles").iterdir()))
        model = Scorer(contents.files["model.onnx"])
        honest = rows_from_frame(drawn_rows(np.random.default_rng(SEED), JUDGED), bundle.fields)
        print_lines(_lines(model, honest), title="How faithful a copy is that one caller can make")


def _lines(model: Scorer, honest: Rows) -> Iterator[Line]:
    truth = _scores(model, honest)
    bar = float(np.quantile(truth, CHOSEN))
    for rows_a_day, decimals in LIMITS:
        asked = _drawn(honest, rows_a_day * DAYS)
        told = _scores(model, asked)
        copy = _copied(asked, told if decimals is None else told.round(decimals), honest)
        yield {
            "bench": "extraction",
            "answers": len(asked),
            "decimals": decimals,
            "fidelity_r2": round(_r2(_odds(truth), _odds(copy)), 3),
            "same_decision": round(float(((truth > bar) == (copy > bar)).mean()), 3),
            "alarms_random": _alarms(asked),
            "alarms_grid": _alarms(_grid(honest, min(len(asked), UNLIMITED))),
        }


def _drawn(honest: Rows, count: int) -> Rows:
    """Draw each field over its range, apart from all others."""
    rng = np.random.default_rng(SEED)
    low, high = np.nanmin(honest.numbers, axis=0), np.nanmax(honest.numbers, axis=0)
    numbers = rng.uniform(low, high, size=(count, honest.numbers.shape[1])).astype(honest.numbers.dtype)
    texts = np.stack([rng.choice(column, size=count) for column in honest.texts.T], axis=1)
    return Rows(numbers=numbers, texts=texts)


def _grid(honest: Rows, count: int) -> Rows:
    """Walk from row to row, one field at a time."""
    numbers, texts = np.repeat(honest.numbers[:1], count, axis=0), np.repeat(honest.texts[:1], count, axis=0)
    walk = np.random.default_rng(SEED).random((count, 1)).astype(numbers.dtype)
    numbers[:, :1] = walk * 1e3
    return Rows(numbers=numbers, texts=texts)


def _scores(model: Scorer, rows: Rows) -> NDArray[np.float64]:
    parts = [model.score(rows.part(at, min(at + SLICE, len(rows)))) for at in range(0, len(rows), SLICE)]
    return np.asarray(np.concatenate(parts))


def _copied(asked: Rows, told: NDArray[np.float64], honest: Rows) -> NDArray[np.float64]:
    """Fit a copy to what was told, and give its scores of honest rows."""
    from lightgbm import LGBMRegressor

    copy = LGBMRegressor(n_estimators=300, num_leaves=31, n_jobs=1, random_state=SEED, verbose=-1)
    copy.fit(_columns(asked, honest), _odds(told))
    odds = np.asarray(copy.predict(_columns(honest, honest)), dtype=np.float64)
    return np.asarray(1 / (1 + np.exp(-odds)))


def _columns(rows: Rows, known: Rows) -> NDArray[np.float64]:
    """Give numbers and the codes of texts, as an attacker would who knows the categories."""
    codes = [np.searchsorted(np.unique(of), column) for column, of in zip(rows.texts.T, known.texts.T, strict=True)]
    return np.column_stack([rows.numbers, *codes]).astype(np.float64)


def _alarms(asked: Rows) -> int:
    raised: list[None] = []
    watch = ExtractionWatch(alarm=lambda: raised.append(None))
    for at in range(len(asked)):
        watch.saw("caller", asked.part(at, at + 1))
    return len(raised)


def _odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(scores, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(kept / (1 - kept)))


def _r2(truth: NDArray[np.float64], copy: NDArray[np.float64]) -> float:
    return float(1 - ((truth - copy) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


if __name__ == "__main__":
    main()
