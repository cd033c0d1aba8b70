"""Counted and weighted words as ONNX nodes: scikit-learn's CountVectorizer, TfidfVectorizer and TfidfTransformer.

Only words between blanks can be told apart exactly. ONNX splits at a fixed
text, has no regular expressions that find words, and turns letters small by a
locale that the serving machine may not have.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.packaging.onnx_blocks import Block
from baton.packaging.onnx_graph import ML_DOMAIN, OPSET_OF_WORDS, Graph
from baton.packaging.rows import NUMBER

PATTERN = "[^ ]+"
# Whatever else one of these is set to changes what a word is.
PLAIN: dict[str, tuple[Any, ...]] = {
    "analyzer": ("word",),
    "lowercase": (False,),
    "ngram_range": ((1, 1), [1, 1]),
    "preprocessor": (None,),
    "strip_accents": (None,),
    "token_pattern": (PATTERN,),
    "tokenizer": (None,),
}


def words_refusal(step: Any) -> str | None:
    """Say which parameter of a vectorizer cannot be exported, fitted or not; None where all can."""
    settings = step.get_params()
    for name, allowed in PLAIN.items():
        if settings[name] not in allowed:
            return f"{name}={settings[name]!r} has none, only {name}={allowed[0]!r} has: prepare the text before"
    return None


def add_words(graph: Graph, step: Any, block: Block, dtype: type[np.floating[Any]]) -> Block:
    """Count how often each known word is in the one text column, and weigh the counts where the step does."""
    graph.opset = max(graph.opset, OPSET_OF_WORDS)
    size = len(step.vocabulary_)
    flat = graph.add("Squeeze", [block.tensor, graph.constant(np.asarray([1], dtype=np.int64))])
    words = graph.add("StringSplit", [flat], more_outputs=1, delimiter=" ")
    names = sorted(step.vocabulary_)
    codes = graph.add(
        "LabelEncoder",
        [words],
        domain=ML_DOMAIN,
        keys_strings=names,
        values_int64s=[int(step.vocabulary_[name]) for name in names],
        default_int64=size,
    )
    counts = _added_up(graph, codes, size, dtype)
    if step.binary:
        counts = graph.add("Min", [counts, graph.constant(np.asarray(1, dtype=dtype))])
    found = Block(tensor=counts, kind=NUMBER, width=size)
    return add_weights(graph, step, found, dtype) if hasattr(step, "use_idf") else found


def add_weights(graph: Graph, step: Any, block: Block, dtype: type[np.floating[Any]]) -> Block:
    """Weigh counts as `TfidfTransformer` does: logarithm, rarity, and length 1."""
    tensor = block.tensor
    if step.sublinear_tf:
        one = graph.constant(np.asarray(1, dtype=dtype))
        raised = graph.add("Add", [graph.add("Log", [graph.add("Max", [tensor, one])]), one])
        tensor = graph.add("Mul", [raised, graph.add("Min", [tensor, one])])
    if step.use_idf:
        tensor = graph.add("Mul", [tensor, graph.constant(np.asarray(step.idf_, dtype=dtype))])
    if step.norm is not None:
        kind = {"l1": "ReduceL1", "l2": "ReduceL2"}[step.norm]
        along = graph.constant(np.asarray([1], dtype=np.int64))
        length = graph.add(kind, [tensor, along], keepdims=1)
        # A text without a known word stays all zeros.
        empty = graph.add("Equal", [length, graph.constant(np.asarray(0, dtype=dtype))])
        tensor = graph.add("Div", [tensor, graph.add("Add", [length, graph.cast(empty, dtype)])])
    return replace(block, tensor=tensor)


def _added_up(graph: Graph, codes: str, size: int, dtype: type[np.floating[Any]]) -> str:
    """Add a one at the place of each word's code; the last column collects the words that are not known."""

    def constant(*values: int) -> str:
        return graph.constant(np.asarray(values, dtype=np.int64))

    shape = graph.add("Shape", [codes])
    rows = graph.add("Gather", [shape, constant(0)])
    wide = graph.add("Concat", [rows, constant(size + 1)], axis=0)
    ones: NDArray[Any] = np.ones(1, dtype=dtype)
    zeros = graph.add("Expand", [graph.constant(np.zeros(1, dtype=dtype)), wide])
    each = graph.add("Expand", [graph.constant(ones), shape])
    counted = graph.add("ScatterElements", [zeros, codes, each], axis=1, reduction="add")
    return graph.add("Slice", [counted, constant(0), constant(size), constant(1)])
