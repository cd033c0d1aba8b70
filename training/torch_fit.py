"""The training of a network by PyTorch, on one thread and from generators of its own, so that it can be repeated."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from baton.core.errors import TrainingFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from baton.training.network import Layers, Network

HIDDEN = (64, 32)


def train_layers(
    network: Network, rows: NDArray[Any], targets: NDArray[Any], *, loss: Literal["classes", "numbers"]
) -> Layers:
    """Minimise cross-entropy or squared error by Adam, on shuffled batches.

    Args:
        network: Its settings; nothing of it is changed.
        rows: Finite numbers, shape `(rows, inputs)`.
        targets: Class indexes from 0, or numbers around 0, shape `(rows,)`.
        loss: What the targets are.

    Raises:
        TrainingFailed: The weights did not stay finite.
    """
    import torch

    # The number of threads belongs to the process, so it is not given back:
    # another fit may be under way. Sums over threads differ in their last bits.
    torch.set_num_threads(1)
    outputs = 1 if loss == "numbers" or targets.max() < 2 else int(targets.max()) + 1  # noqa: PLR2004
    generator = np.random.default_rng(network.random_state)
    layers = _begin([rows.shape[1], *(network.hidden or HIDDEN), outputs], generator)
    inputs = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
    wanted = torch.from_numpy(targets.astype(np.int64 if outputs > 1 else np.float32))
    weights = [tensor for layer in layers for tensor in layer]
    adam = torch.optim.Adam(weights, lr=network.learning_rate, weight_decay=network.weight_decay)
    for _ in range(network.epochs):
        for picked in _batches(len(rows), network.batch_rows, generator):
            adam.zero_grad()
            _loss(_through(layers, inputs[picked]), wanted[picked], loss).backward()
            adam.step()
    return _plain(layers)


def _begin(widths: list[int], generator: np.random.Generator) -> list[tuple[Any, Any]]:
    """Draw the first weights as He et al. (2015) do for rectified units."""
    import torch

    layers = []
    for inputs, outputs in pairwise(widths):
        drawn = generator.normal(0, np.sqrt(2 / max(inputs, 1)), size=(inputs, outputs)).astype(np.float32)
        layers.append((torch.from_numpy(drawn).requires_grad_(), torch.zeros(outputs, requires_grad=True)))
    return layers


def _batches(rows: int, size: int, generator: np.random.Generator) -> list[Any]:
    import torch

    order = torch.from_numpy(generator.permutation(rows))
    return list(torch.split(order, size))


def _through(layers: list[tuple[Any, Any]], values: Any) -> Any:
    import torch

    for at, (weight, bias) in enumerate(layers):
        values = (torch.relu(values) if at else values) @ weight + bias
    return values


def _loss(raw: Any, wanted: Any, loss: str) -> Any:
    from torch.nn import functional

    if loss == "numbers":
        return functional.mse_loss(raw[:, 0], wanted)
    if raw.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(raw[:, 0], wanted)
    return functional.cross_entropy(raw, wanted)


def _plain(layers: list[tuple[Any, Any]]) -> Layers:
    plain = [(weight.detach().numpy().copy(), bias.detach().numpy().copy()) for weight, bias in layers]
    if not all(np.isfinite(part).all() for layer in plain for part in layer):
        raise TrainingFailed(
            what="the network's weights did not stay finite",
            why="a step was too long, or a feature value is infinite",
            fix="lower training.parameters learning_rate",
        )
    return plain
