"""Gradient boosted trees by LightGBM, repeatable to the bit whatever the number of threads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from baton.core.digest import canonical_json
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

# Native parameters that the scikit-learn wrapper passes on without listing them.
NATIVE = ("extra_trees", "feature_fraction_bynode", "max_bin", "min_data_in_bin", "path_smooth")
# How the model was made, not what it is: threads would change the digest.
_RECIPE = re.compile(r"\nparameters:.*?end of parameters\n", re.DOTALL)


def build(spec: ModelSpec, *, threads: int) -> Any:
    """Give a pipeline of integer codes for text, numbers as they are, and boosted trees."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    owned = {
        "random_state": spec.seed,
        "n_jobs": threads,
        "verbose": -1,
        "deterministic": True,
        # Column-wise histograms are added up in an order that depends on threads.
        "force_row_wise": True,
    }
    settings = checked_parameters(spec, known=(*LGBMClassifier().get_params(), *NATIVE), owned=owned)
    text = [name for name in spec.features.names if name in spec.features.text]
    numbers = [name for name in spec.features.names if name not in spec.features.text]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = ColumnTransformer([("text", codes, text), ("number", "passthrough", numbers)])
    return Pipeline([("encode", encode), ("model", LGBMClassifier(**settings))])


def content(pipeline: Any) -> bytes:
    """Give the trees and the encoder's categories."""
    booster = pipeline.named_steps["model"].booster_
    trees = _RECIPE.sub("\n", booster.model_to_string())
    categories = getattr(pipeline.named_steps["encode"].named_transformers_["text"], "categories_", [])
    return canonical_json([list(values) for values in categories]) + trees.encode()
