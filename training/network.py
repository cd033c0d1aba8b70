"""A multilayer perceptron as plain arrays: trained by PyTorch, kept and applied without it.

Its estimators follow scikit-learn's interface. `mean` and `scale` standardise
the inputs; `layers` holds each layer's weight `(inputs, outputs)` and bias
`(outputs,)`; between layers stands `max(0, x)`. The last layer gives log odds of the second class of two, one
logit for each of several classes, or the number itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


class Network(BaseEstimator):  # type: ignore[misc]
    """What both networks share: their settings and the way through their layers."""

    layers: Layers
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __init__(
        self,
        *,
        hidden: list[int] | None = None,
        epochs: int = 20,
        batch_rows: int = 512,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch_rows = batch_rows
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state

    def raw(self, rows: Any) -> NDArray[np.float64]:
        """Give the last layer's outputs, shape `(rows, outputs)`."""
        values = (np.asarray(rows, dtype=np.float64) - self.mean) / self.scale
        for at, (weight, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if at else values) @ weight.astype(np.float64) + bias
        return values

    def as_they_are(self, columns: int) -> None:
        """Take inputs as they are: the encoders before this step have scaled what is to be scaled."""
        self.n_features_in_ = columns
        self.mean, self.scale = np.zeros(columns, dtype=np.float32), np.ones(columns, dtype=np.float32)


class NetworkClassifier(ClassifierMixin, Network):  # type: ignore[misc]
    """A network whose outputs are log odds."""

    # Said of each class: an unfitted one is known by its own annotations.
    layers: Layers
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def fit(self, rows: Any, labels: Any) -> NetworkClassifier:
        """Train on rows of numbers and their class indexes."""
        from baton.training.torch_fit import train_layers

        self.classes_ = np.unique(labels)
        self.as_they_are(np.shape(rows)[1])
        self.layers = train_layers(self, np.asarray(rows), np.searchsorted(self.classes_, labels), loss="classes")
        return self

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Give the chance of each class, shape `(rows, classes)`."""
        raw = self.raw(rows)
        if raw.shape[1] == 1:
            raw = np.column_stack([np.zeros(len(raw)), raw])
        each = np.exp(raw - raw.max(axis=1, keepdims=True))
        chances: NDArray[np.float64] = each / each.sum(axis=1, keepdims=True)
        return chances

    def predict(self, rows: Any) -> Any:
        """Give the likeliest class of each row."""
        return self.classes_[np.argmax(self.predict_proba(rows), axis=1)]


class NetworkRegressor(RegressorMixin, Network):  # type: ignore[misc]
    """A network whose output is the number, in its own unit."""

    layers: Layers
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def fit(self, rows: Any, labels: Any) -> NetworkRegressor:
        """Train on rows of numbers and the number that each stands for."""
        from baton.training.torch_fit import train_layers

        numbers = np.asarray(labels, dtype=np.float64)
        self.as_they_are(np.shape(rows)[1])
        mean, scale = float(numbers.mean()), float(numbers.std()) or 1.0
        layers = train_layers(self, np.asarray(rows), (numbers - mean) / scale, loss="numbers")
        # It learns numbers around 0; the last layer carries them back to their unit.
        weight, bias = layers[-1]
        last = ((weight * scale).astype(np.float32), (bias * scale + mean).astype(np.float32))
        self.layers = [*layers[:-1], last]
        return self

    def predict(self, rows: Any) -> NDArray[np.float64]:
        """Give the number of each row."""
        return self.raw(rows)[:, 0]
