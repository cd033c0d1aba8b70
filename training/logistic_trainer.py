"""Logistic regression by scikit-learn: the plain model that a better one has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baton.core.digest import canonical_json
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

# The default of 100 stops short on a few hundred one-hot columns.
ITERATIONS = 1_000
# A text value seen less often shares one column with the other rare ones.
RARE_ROWS = 20


def build(spec: ModelSpec, *, threads: int) -> Any:  # noqa: ARG001 - the solver has one thread
    """Give a pipeline of one-hot text, numbers imputed by their median and scaled, and a logistic regression."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    settings = checked_parameters(
        spec, known=LogisticRegression().get_params(), owned={"random_state": spec.seed, "n_jobs": None, "verbose": 0}
    )
    text = [name for name in spec.features.names if name in spec.features.text]
    numbers = [name for name in spec.features.names if name not in spec.features.text]
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE_ROWS, sparse_output=False)
    filled = Pipeline(
        [("impute", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
    )
    encode = ColumnTransformer([("text", one_hot, text), ("number", filled, numbers)])
    return Pipeline([("encode", encode), ("model", LogisticRegression(**{"max_iter": ITERATIONS} | settings))])


def content(pipeline: Any) -> bytes:
    """Give the coefficients and everything that the columns are encoded with."""
    encode, model = pipeline.named_steps["encode"], pipeline.named_steps["model"]
    one_hot, filled = encode.named_transformers_["text"], encode.named_transformers_["number"]
    # A transformer of no columns is never fitted and has none of these.
    return canonical_json(
        {
            "names": list(encode.get_feature_names_out()),
            "categories": [list(values) for values in getattr(one_hot, "categories_", [])],
            "median": _numbers(filled, "impute", "statistics_"),
            "mean": _numbers(filled, "scale", "mean_"),
            "scale": _numbers(filled, "scale", "scale_"),
            "coefficients": model.coef_.ravel().tolist(),
            "intercept": model.intercept_.tolist(),
        }
    )


def _numbers(filled: Any, step: str, name: str) -> list[float]:
    values = getattr(getattr(filled, "named_steps", {}).get(step), name, None)
    return [] if values is None else list(map(float, values))
