"""Gradient boosted trees by XGBoost, repeatable to the bit whatever the number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baton.core.policy import Task
from baton.training.encoding import code_content, with_codes
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")

# Parameters of the library that its scikit-learn wrapper passes on without listing them.
NATIVE = ("quantile_alpha", "huber_slope", "tweedie_variance_power", "max_cached_hist_node")


def build(spec: ModelSpec, *, threads: int) -> Any:
    """Give a pipeline of integer codes for text, numbers as they are, and boosted trees."""
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBRegressor if spec.task == "regression" else XGBClassifier
    owned = {
        "random_state": spec.seed,
        "n_jobs": threads,
        "verbosity": 0,
        # The other methods give other trees for other numbers of threads, or need a GPU.
        "tree_method": "hist",
        "device": "cpu",
        # Text is codes already; a split by sets of codes is not what the other trees do.
        "enable_categorical": False,
    }
    settings = checked_parameters(spec, known=(*kind().get_params(), *NATIVE), owned=owned)
    return with_codes(spec, kind(**settings))


def content(pipeline: Any) -> bytes:
    """Give the trees and the encoder's categories."""
    trees = pipeline.named_steps["model"].get_booster().save_raw("json")
    return code_content(pipeline) + bytes(trees)
