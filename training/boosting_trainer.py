"""Gradient boosted trees by scikit-learn, for projects that want no other library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baton.core.policy import Task
from baton.training.encoding import with_codes
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")


def build(spec: ModelSpec, *, threads: int) -> Any:  # noqa: ARG001 - the fit sets it for all of OpenMP
    """Give a pipeline of integer codes for text, numbers with missing ones filled, and boosted trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if spec.task == "regression" else HistGradientBoostingClassifier
    owned = {
        "random_state": spec.seed,
        "verbose": 0,
        "warm_start": False,
        # Text is codes already; splits by sets of codes are not what the other trees do.
        "categorical_features": None,
    }
    settings = checked_parameters(spec, known=kind().get_params(), owned=owned)
    # It takes missing values, but not a column of nothing else.
    return with_codes(spec, kind(**settings), filled=True)
