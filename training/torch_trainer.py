"""A multilayer perceptron by PyTorch, which is an extra: it is larger than everything else together."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from baton.core.digest import canonical_json
from baton.core.errors import SourceMissing
from baton.core.policy import Task
from baton.training.encoding import column_content, with_columns
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")


def build(spec: ModelSpec, *, threads: int) -> Any:  # noqa: ARG001 - more than one cannot be repeated
    """Give a pipeline of one-hot text, numbers imputed and scaled, and a network.

    Raises:
        SourceMissing: PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise SourceMissing(
            what=f"the trainer {spec.training.trainer} cannot train",
            why="PyTorch is not installed",
            fix="install the extra: pip install 'baton[torch]'",
        )
    from baton.training.network import NetworkClassifier, NetworkRegressor

    kind = NetworkRegressor if spec.task == "regression" else NetworkClassifier
    settings = checked_parameters(spec, known=kind().get_params(), owned={"random_state": spec.seed})
    return with_columns(spec, kind(**settings))


def content(pipeline: Any) -> bytes:
    """Give the layers and everything that the columns are encoded with."""
    layers = pipeline.named_steps["model"].layers
    shapes = [[list(part.shape) for part in layer] for layer in layers]
    weights = b"".join(part.tobytes() for layer in layers for part in layer)
    return canonical_json(column_content(pipeline) | {"layers": shapes}) + weights
