"""The answer that stands in where a model gives none: the mean answer of its own reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.digest import canonical_json
from baton.core.profile import profile_from_json
from baton.packaging.manifest import FALLBACK, PROFILE

if TYPE_CHECKING:
    from baton.core.profile import Profile


def fallback_file(profile: Profile) -> bytes:
    """Write the fallback of a bundle with this reference."""
    found = _mean_answer(profile)
    return canonical_json({"answer": None if found is None else found.tolist()})


def fallback_of(files: Mapping[str, bytes]) -> NDArray[np.float64] | None:
    """Read one number, or each class's chance, from a bundle's files; None where its reference has no answers."""
    if FALLBACK not in files:
        # A bundle of before there was such a file.
        return _mean_answer(profile_from_json(files[PROFILE]))
    answer = json.loads(files[FALLBACK])["answer"]
    return None if answer is None else np.asarray(answer, dtype=np.float64)


def _mean_answer(profile: Profile) -> NDArray[np.float64] | None:
    columns = profile.classes or (profile.score,)
    if not all(column.quantiles for column in columns):
        return None
    means = np.array([_mean(column.quantiles) for column in columns])
    return means / means.sum() if profile.classes else means


def _mean(quantiles: Sequence[float]) -> float:
    """Integrate the quantile function, which is evenly spaced."""
    return (sum(quantiles) - (quantiles[0] + quantiles[-1]) / 2) / (len(quantiles) - 1)
