"""A random forest by scikit-learn: the average of deep trees, each on rows drawn with replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baton.core.policy import Task
from baton.training.encoding import with_codes
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")

# Leaves of one row, scikit-learn's default, make a model of hundreds of megabytes that answers 0 and 1.
LEAF_ROWS = 10


def build(spec: ModelSpec, *, threads: int) -> Any:  # noqa: ARG001 - the fit sets it for all of joblib
    """Give a pipeline of integer codes for text, numbers as they are, and a forest."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if spec.task == "regression" else RandomForestClassifier
    # With threads of its own it would also add up its trees' answers in any order.
    owned = {"random_state": spec.seed, "n_jobs": None, "verbose": 0, "warm_start": False}
    settings = checked_parameters(spec, known=kind().get_params(), owned=owned)
    return with_codes(spec, kind(**{"min_samples_leaf": LEAF_ROWS} | settings))
