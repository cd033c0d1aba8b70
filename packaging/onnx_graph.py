"""An ONNX graph as it is being written: nodes, constants and fresh names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ML_DOMAIN = "ai.onnx.ml"
ML_OPSET = 3
# The first with tree ensembles whose sums are doubles.
ML_OPSET_OF_DOUBLES = 5
OPSET = 17
# The first that splits text into words.
OPSET_OF_WORDS = 20


class Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.opset = OPSET
        self.ml_opset = ML_OPSET
        self._names = 0

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        output: str | None = None,
        more_outputs: int = 0,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node and give the name of its output, the first where it has more, which nobody reads."""
        from onnx import helper

        name = output or self._fresh(kind)
        unread = [self._fresh(kind) for _ in range(more_outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), [name, *unread], domain=domain, **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        """Add a constant tensor and give its name."""
        from onnx import numpy_helper

        name = self._fresh("constant")
        self.constants.append(numpy_helper.from_array(value, name=name))
        return name

    def columns(self, tensor: str, indices: Sequence[int], *, width: int) -> str:
        """Pick columns of a matrix of `width` columns; all of them in order cost nothing."""
        if list(indices) == list(range(width)):
            return tensor
        return self.add("Gather", [tensor, self.constant(np.asarray(indices, dtype=np.int64))], axis=1)

    def cast(self, tensor: str, dtype: type[np.floating[Any]], *, output: str | None = None) -> str:
        """Turn numbers into another element type."""
        from onnx import helper

        return self.add("Cast", [tensor], output=output, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def joined(self, parts: Sequence[str]) -> str:
        """Put matrices beside each other; one alone costs nothing."""
        return parts[0] if len(parts) == 1 else self.add("Concat", parts, axis=1)

    def _fresh(self, kind: str) -> str:
        self._names += 1
        return f"{kind.lower()}_{self._names}"
