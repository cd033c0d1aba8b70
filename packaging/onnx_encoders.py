"""The encoders of a scikit-learn pipeline as ONNX nodes.

A block is a matrix of some columns of the row. Text blocks become numbers by
codes, one-hot columns or counted words; number blocks are filled and scaled. Every
block has one element type: float32 where nothing is computed and trees compare
as in training, else double, as scikit-learn computes.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import ParityFailed
from baton.packaging.onnx_blocks import Block
from baton.packaging.onnx_graph import ML_DOMAIN, Graph
from baton.packaging.onnx_words import add_weights, add_words, words_refusal
from baton.packaging.rows import NUMBER, TEXT

# A text that no training set holds: it has a control character.
UNSEEN = "\x01unseen"
WORDS = ("CountVectorizer", "TfidfVectorizer")


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
    why = _refusal(transformer, block.kind)
    if why is not None:
        raise _no_converter(name, why)
    converter = _CONVERTERS[name, block.kind]
    return converter(graph, transformer, block, dtype)


def encodable(encoder: Any, text: Container[str]) -> str | None:
    """Say why an unfitted `ColumnTransformer` cannot be exported; None where nothing speaks against it.

    Args:
        encoder: The first step of the trainer's pipeline.
        text: The columns that are text; all others are numbers.
    """
    for _, transformer, columns in getattr(encoder, "transformers", ()):
        names = [columns] if isinstance(columns, str) else columns
        if callable(names) or not len(names) or transformer == "drop":
            continue
        kind = TEXT if names[0] in text else NUMBER
        for step in _steps(transformer):
            why = _refusal(step, kind)
            if why is not None:
                return f"{type(step).__name__} cannot be exported: {why}"
            kind = NUMBER
    return None


def _steps(transformer: Any) -> list[Any]:
    """List what a transformer does, but for what leaves values as they are."""
    if isinstance(transformer, str):
        return []
    parts = [step for _, step in transformer.steps] if type(transformer).__name__ == "Pipeline" else [transformer]
    return [step for step in parts if type(step).__name__ != "FunctionTransformer" or step.func is not None]


def _refusal(step: Any, kind: str) -> str | None:
    name = type(step).__name__
    if (name, kind) not in _CONVERTERS:
        return f"it has no converter for {kind} columns, only {_known()} have"
    if name in WORDS:
        return words_refusal(step)
    if kind == TEXT and step.handle_unknown == "error":
        return "handle_unknown='error' would refuse rows in serving"
    return None


def _lookup(graph: Graph, encoder: Any, block: Block, dtype: type[np.floating[Any]]) -> Block:
    """Look each text up in the table of what the encoder gives for it, its last row for every other text."""
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
    **dict.fromkeys([(name, TEXT) for name in WORDS], add_words),
    ("TfidfTransformer", NUMBER): add_weights,
    ("SimpleImputer", NUMBER): _imputer,
    ("StandardScaler", NUMBER): _scaler,
}


def _known() -> str:
    return ", ".join(name for name, _ in _CONVERTERS)


def _no_converter(name: str, why: str) -> ParityFailed:
    return ParityFailed(what=f"{name} cannot be exported", why=why, fix="use another encoder in the trainer")
