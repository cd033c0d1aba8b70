"""The encoders of a scikit-learn pipeline as ONNX nodes.

A block is a matrix of some columns of the row. Text blocks become numbers by
OrdinalEncoder or OneHotEncoder; number blocks are filled and scaled. Every
block has one element type: float32 where nothing is computed and trees compare
as in training, else double, as scikit-learn computes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import ParityFailed
from baton.packaging.onnx_graph import ML_DOMAIN, Graph
from baton.packaging.rows import NUMBER, TEXT

# A text that no training set holds: it has a control character.
UNSEEN = "\x01unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A tensor of the graph with its kind and its number of columns."""

    tensor: str
    kind: str
    width: int


def encode(graph: Graph, transformer: Any, block: Block, *, dtype: type[np.floating[Any]]) -> Block:
    """Add one fitted transformer to the graph.

    Raises:
        ParityFailed: The transformer, or an option of it, has no converter.
    """
    if isinstance(transformer, str):
        return block
    name = type(transformer).__name__
    if name == "Pipeline":
        for _, step in transformer.steps:
            block = encode(graph, step, block, dtype=dtype)
        return block
    if name == "FunctionTransformer" and transformer.func is None:
        return block
    converter = _CONVERTERS.get((name, block.kind))
    if converter is None:
        raise _no_converter(name, f"it has none for {block.kind} columns, only {_known()} have")
    return converter(graph, transformer, block, dtype)


def _lookup(graph: Graph, encoder: Any, block: Block, dtype: type[np.floating[Any]]) -> Block:
    """Look each text up in the table of what the encoder gives for it, its last row for every other text."""
    if encoder.handle_unknown == "error":
        raise _no_converter(type(encoder).__name__, "handle_unknown='error' would refuse rows in serving")
    parts, width = [], 0
    for at, categories in enumerate(encoder.categories_):
        codes = graph.add(
            "LabelEncoder",
            [graph.columns(block.tensor, [at], width=block.width)],
            domain=ML_DOMAIN,
            keys_strings=list(categories),
            values_int64s=list(range(len(categories))),
            default_int64=len(categories),
        )
        flat = graph.add("Squeeze", [codes, graph.constant(np.asarray([1], dtype=np.int64))])
        table = _table(encoder, at).astype(dtype)
        parts.append(graph.add("Gather", [graph.constant(table), flat], axis=0))
        width += table.shape[1]
    return Block(tensor=graph.joined(parts), kind=NUMBER, width=width)


def _table(encoder: Any, column: int) -> NDArray[np.float64]:
    """Ask the encoder what it gives for each category of one column, and for a text that it has never seen.

    Asking is what makes rare categories, dropped ones and unknown ones right
    without a second copy of the encoder's rules.
    """
    import pandas as pd

    texts = [*encoder.categories_[column], UNSEEN]
    probe = pd.DataFrame(
        {name: [encoder.categories_[at][0]] * len(texts) for at, name in enumerate(encoder.feature_names_in_)}
    )
    probe.iloc[:, column] = texts
    given = encoder.transform(probe)
    dense = np.asarray(given.toarray() if hasattr(given, "toarray") else given, dtype=np.float64)
    widths = [_width(encoder, at) for at in range(len(encoder.categories_))]
    start = sum(widths[:column])
    return dense[:, start : start + widths[column]]


def _width(encoder: Any, column: int) -> int:
    if type(encoder).__name__ == "OrdinalEncoder":
        return 1
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(encoder.categories_)
    together = 0 if rare[column] is None else len(rare[column]) - 1
    dropped = encoder.drop_idx_ is not None and encoder.drop_idx_[column] is not None
    return len(encoder.categories_[column]) - together - int(dropped)


def _imputer(graph: Graph, imputer: Any, block: Block, dtype: type[np.floating[Any]]) -> Block:
    if not np.isnan(imputer.missing_values):
        raise _no_converter("SimpleImputer", "it needs missing_values=nan")
    fill = np.asarray(imputer.statistics_, dtype=dtype)
    missing = graph.add("IsNaN", [block.tensor])
    filled = graph.add("Where", [missing, graph.constant(fill), block.tensor])
    # A column that was missing throughout training has no statistic and is left out.
    kept = [int(at) for at in np.flatnonzero(~np.isnan(fill))]
    parts, width = [graph.columns(filled, kept, width=block.width)], len(kept)
    if imputer.indicator_ is not None:
        flagged = [int(at) for at in imputer.indicator_.features_]
        parts.append(graph.cast(graph.columns(missing, flagged, width=block.width), dtype))
        width += len(flagged)
    return Block(tensor=graph.joined(parts), kind=NUMBER, width=width)


def _scaler(graph: Graph, scaler: Any, block: Block, dtype: type[np.floating[Any]]) -> Block:
    tensor = block.tensor
    if scaler.mean_ is not None and scaler.with_mean:
        tensor = graph.add("Sub", [tensor, graph.constant(scaler.mean_.astype(dtype))])
    if scaler.scale_ is not None:
        tensor = graph.add("Div", [tensor, graph.constant(scaler.scale_.astype(dtype))])
    return replace(block, tensor=tensor)


_CONVERTERS = {
    ("OrdinalEncoder", TEXT): _lookup,
    ("OneHotEncoder", TEXT): _lookup,
    ("SimpleImputer", NUMBER): _imputer,
    ("StandardScaler", NUMBER): _scaler,
}


def _known() -> str:
    return ", ".join(name for name, _ in _CONVERTERS)


def _no_converter(name: str, why: str) -> ParityFailed:
    return ParityFailed(what=f"{name} cannot be exported", why=why, fix="use another encoder in the trainer")
