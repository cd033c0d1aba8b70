"""Gradient boosted trees by LightGBM, repeatable to the bit whatever the number of threads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from baton.core.policy import Task
from baton.training.encoding import code_content, with_codes
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")

# Native parameters that the scikit-learn wrapper passes on without listing them.
NATIVE = ("alpha", "extra_trees", "feature_fraction_bynode", "max_bin", "min_data_in_bin", "path_smooth")
# How the model was made, not what it is: threads would change the digest.
_RECIPE = re.compile(r"\nparameters:.*?end of parameters\n", re.DOTALL)


def build(spec: ModelSpec, *, threads: int) -> Any:
    """Give a pipeline of integer codes for text, numbers as they are, and boosted trees."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if spec.task == "regression" else LGBMClassifier
    owned = {
        "random_state": spec.seed,
        "n_jobs": threads,
        "verbose": -1,
        "deterministic": True,
        # Column-wise histograms are added up in an order that depends on threads.
        "force_row_wise": True,
    }
    settings = checked_parameters(spec, known=(*kind().get_params(), *NATIVE), owned=owned)
    return with_codes(spec, kind(**settings))


def content(pipeline: Any) -> bytes:
    """Give the trees and the encoder's categories."""
    booster = pipeline.named_steps["model"].booster_
    return code_content(pipeline) + _RECIPE.sub("\n", booster.model_to_string()).encode()
