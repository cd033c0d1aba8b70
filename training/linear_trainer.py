"""Logistic and ridge regression by scikit-learn: the plain models that a better one has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baton.core.digest import canonical_json
from baton.core.policy import Task
from baton.training.encoding import column_content, with_columns
from baton.training.parameters import checked_parameters

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

tasks: tuple[Task, ...] = ("binary", "multiclass", "regression")

# The default of 100 stops short on a few hundred one-hot columns.
ITERATIONS = 1_000


def build(spec: ModelSpec, *, threads: int) -> Any:  # noqa: ARG001 - the solvers have one thread
    """Give a pipeline of one-hot text, numbers imputed by their median and scaled, and a linear model."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if spec.task == "regression":
        settings = checked_parameters(
            spec, known=Ridge().get_params(), owned={"random_state": spec.seed, "copy_X": True}
        )
        return with_columns(spec, Ridge(**settings))
    owned: dict[str, Any] = {"random_state": spec.seed, "n_jobs": None, "verbose": 0}
    settings = checked_parameters(spec, known=LogisticRegression().get_params(), owned=owned)
    return with_columns(spec, LogisticRegression(**{"max_iter": ITERATIONS} | settings))


def content(pipeline: Any) -> bytes:
    """Give the coefficients and everything that the columns are encoded with."""
    model = pipeline.named_steps["model"]
    # Ridge has its one intercept as a plain number.
    intercept = model.intercept_ if isinstance(model.intercept_, float) else model.intercept_.tolist()
    return canonical_json(
        column_content(pipeline) | {"coefficients": model.coef_.ravel().tolist(), "intercept": intercept}
    )
