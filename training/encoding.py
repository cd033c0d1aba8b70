"""The two encodings that trainers share: integer codes for trees, one-hot and scaled columns for sums.

Both give scikit-learn's `Pipeline([("encode", ColumnTransformer), ("model", estimator)])`,
which is the shape that can be exported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baton.core.digest import canonical_json

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

# A text value seen less often shares one column with the other rare ones.
RARE_ROWS = 20


def with_codes(spec: ModelSpec, estimator: Any, *, filled: bool = False) -> Any:
    """Give a pipeline of integer codes for text, -1 for unseen text, and numbers as they are, missing ones too.

    Args:
        spec: Names the features and which of them are text.
        estimator: The last step, which takes columns of numbers.
        filled: Whether missing numbers become their median, with a column that says so.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    text, numbers = _columns(spec)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    fill = SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=True) if filled else "passthrough"
    encode = ColumnTransformer([("text", codes, text), ("number", fill, numbers)])
    return Pipeline([("encode", encode), ("model", estimator)])


def with_columns(spec: ModelSpec, estimator: Any) -> Any:
    """Give a pipeline of one-hot text, and numbers imputed by their median and scaled."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text, numbers = _columns(spec)
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE_ROWS, sparse_output=False)
    filled = Pipeline(
        [("impute", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())]
    )
    encode = ColumnTransformer([("text", one_hot, text), ("number", filled, numbers)])
    return Pipeline([("encode", encode), ("model", estimator)])


def code_content(pipeline: Any) -> bytes:
    """Give what `with_codes` has learned: the categories of each text column, in order."""
    codes = pipeline.named_steps["encode"].named_transformers_["text"]
    return canonical_json([list(values) for values in getattr(codes, "categories_", [])])


def column_content(pipeline: Any) -> dict[str, Any]:
    """Give what `with_columns` has learned: names, categories, medians, means and scales."""
    encode = pipeline.named_steps["encode"]
    one_hot, filled = encode.named_transformers_["text"], encode.named_transformers_["number"]
    # A transformer of no columns is never fitted and has none of these.
    return {
        "names": list(encode.get_feature_names_out()),
        "categories": [list(values) for values in getattr(one_hot, "categories_", [])],
        "median": _numbers(filled, "impute", "statistics_"),
        "mean": _numbers(filled, "scale", "mean_"),
        "scale": _numbers(filled, "scale", "scale_"),
    }


def _columns(spec: ModelSpec) -> tuple[list[str], list[str]]:
    text = set(spec.features.text)
    names = spec.features.names
    return [name for name in names if name in text], [name for name in names if name not in text]


def _numbers(filled: Any, step: str, name: str) -> list[float]:
    values = getattr(getattr(filled, "named_steps", {}).get(step), name, None)
    return [] if values is None else list(map(float, values))
