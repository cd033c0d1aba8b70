"""One version of the model, loaded from verified bytes, warmed, and checked against its golden requests."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baton.core.bundle import Bundle
from baton.core.errors import IntegrityBroken
from baton.core.profile import profile_from_json
from baton.core.release import Release
from baton.packaging.agreement import gaps
from baton.packaging.fallback import fallback_of
from baton.packaging.manifest import MODEL, PROFILE
from baton.packaging.reader import Contents, bundle_path, open_contents
from baton.packaging.rows import Rows
from baton.packaging.scorer import Scorer
from baton.serving.body_reader import BodyReader
from baton.serving.request_schema import parse_rows
from baton.serving.training_range import TrainingRange

BUNDLES = "bundles"


class Predictor:
    """The champion of one release; it never changes, so a batch has one version from end to end."""

    def __init__(self, contents: Contents, release: Release) -> None:
        self.bundle: Bundle = contents.bundle
        self.release = release
        self.reader = BodyReader(contents.bundle.fields)
        self.range = TrainingRange(profile_from_json(contents.files[PROFILE]), contents.bundle.fields)
        # Rows and milliseconds of the batches that it was warmed with.
        self.warmed: tuple[tuple[int, float], ...] = ()
        # For what stands in where it fails, see `ladder`: a request that it is known to answer, and its reference.
        self.golden = parse_rows(contents.golden.rows[:1], contents.bundle.fields)
        self.profile = contents.files[PROFILE]
        self.fallback = fallback_of(contents.files)
        self._scorer = Scorer(contents.files[MODEL])

    def score(self, rows: Rows) -> NDArray[np.float64]:
        """Give each row's answer, shape `(rows,)`, of several classes `(rows, classes)`; see `Scorer.score`.

        Raises:
            FloatingPointError: A score is not finite, so it is no answer.
        """
        scores = self._scorer.score(rows)
        # A sum is finite only where all of it is, and costs half of what looking at each does.
        if not math.isfinite(scores.sum()) and not np.isfinite(scores).all():
            raise FloatingPointError("the model gave a score that is no number")
        return scores


def load_predictor(folder: Path, release: Release, *, max_batch_rows: int) -> Predictor:
    """Open, verify, load, check and warm the champion's bundle.

    Args:
        folder: The model's state folder.
        release: The release whose champion is loaded.
        max_batch_rows: Largest batch that will be scored.

    Raises:
        SourceMissing: The bundle is not there.
        IntegrityBroken: A file differs from its digest, the bundle is another
            model's, or a golden request gets another answer.
    """
    return proven(
        open_contents(bundle_path(folder / BUNDLES, release.champion)), release, max_batch_rows=max_batch_rows
    )


def proven(contents: Contents, release: Release, *, max_batch_rows: int) -> Predictor:
    """Load, check and warm an opened bundle, from wherever; see `load_predictor`."""
    if contents.bundle.model != release.model:
        raise IntegrityBroken(
            what=f"bundle {release.champion[:12]} is refused",
            why=f"it holds the model {contents.bundle.model!r}, expected {release.model!r}",
            fix="point the release at a bundle of this model",
        )
    # Epoch 0 is no release: the bundle is scored with by itself.
    if 0 < release.epoch < contents.bundle.epoch:
        raise IntegrityBroken(
            what=f"bundle {release.champion[:12]} is refused",
            why=f"it was sealed in epoch {contents.bundle.epoch}, and the release says epoch {release.epoch}",
            fix="promote it, or roll back to a bundle of that time",
        )
    predictor = Predictor(contents, release)
    golden = parse_rows(contents.golden.rows, contents.bundle.fields)
    _check(predictor, golden, contents)
    predictor.warmed = _warm(predictor, golden, max_batch_rows)
    return predictor


def _check(predictor: Predictor, golden: Rows, contents: Contents) -> None:
    expected = np.asarray(contents.golden.scores, dtype=np.float64)
    scores = predictor.score(golden)
    if scores.shape != expected.shape:
        raise IntegrityBroken(
            what=f"bundle {predictor.release.champion[:12]} is refused",
            why=f"its answers have the shape {scores.shape}, its golden ones {expected.shape}",
            fix="package the model again",
        )
    apart = gaps(scores, expected, task=contents.bundle.task)
    if not len(apart) or not apart.max() <= contents.golden.tolerance:
        raise IntegrityBroken(
            what=f"bundle {predictor.release.champion[:12]} is refused",
            why=f"golden request {int(apart.argmax()) if len(apart) else 0} differs by {apart.max(initial=0):.3g}, "
            f"expected at most {contents.golden.tolerance:g}",
            fix="package the model again on this machine's kind of processor",
        )


def _warm(predictor: Predictor, golden: Rows, most: int) -> tuple[tuple[int, float], ...]:
    """Score batches of 1, 2, 4 ... rows, so that no caller pays for the first of a size; say what each took.

    Each size is scored twice and the second time counts: the first also
    reserves memory.
    """
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] * 2, most))
    warmed = []
    for size in sizes:
        rows = np.arange(size) % len(golden)
        batch = Rows(numbers=golden.numbers[rows], texts=golden.texts[rows])
        predictor.score(batch)
        started = time.perf_counter()
        predictor.score(batch)
        warmed.append((size, (time.perf_counter() - started) * 1e3))
    return tuple(warmed)
