"""Trainers by name: Baton's own, those of installed packages, and a file beside the project.

A trainer says which tasks it learns, builds an unfitted pipeline, and may say
what a fitted one consists of. A module with these names is a trainer, and so
is an object. `docs/reference/trainers.md` has one in twenty lines, and
`baton check trainer` tests it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, cast

from baton.core.digest import digest_of_file
from baton.core.errors import BatonError, SourceMissing, SpecInvalid, listed
from baton.core.policy import Task
from baton.training.content import default_content
from baton.training.trainer_file import load_from_file, trainer_path

if TYPE_CHECKING:
    from baton.core.spec import ModelSpec

GROUP = "baton.trainers"
BUILT_IN: Mapping[str, str] = {
    "boosting": "baton.training.boosting_trainer",
    "forest": "baton.training.forest_trainer",
    "lightgbm": "baton.training.lightgbm_trainer",
    "linear": "baton.training.linear_trainer",
    "logistic": "baton.training.logistic_trainer",
    "mlp": "baton.training.torch_trainer",
    "xgboost": "baton.training.xgboost_trainer",
}


class Trainer(Protocol):
    """Builds an unfitted scikit-learn pipeline for the tasks that it names.

    It may also have `content(pipeline) -> bytes`: everything that decides a
    fitted pipeline's scores, the same bytes for the same model. Without it,
    the pipeline's fitted attributes are taken.
    """

    @property
    def tasks(self) -> Collection[Task]:
        """What it can learn: `binary`, `multiclass`, `regression`."""

    def build(self, spec: ModelSpec, *, threads: int) -> Any:
        """Give a pipeline that takes the features as a data frame and has `predict_proba`, or `predict` for numbers."""


def trainer_of(spec: ModelSpec) -> Trainer:
    """Find the trainer that a project names, and check that it learns the project's task.

    Raises:
        SpecInvalid: There is no such trainer, or it does not learn the task.
        SourceMissing: Its file, or a package that it needs, is not there.
    """
    named = spec.training.trainer
    trainer = load_from_file(named, folder=spec.folder) if ".py:" in named else _installed(named)
    _check_interface(trainer, named)
    if spec.task not in trainer.tasks:
        able = sorted(name for name in BUILT_IN if name != named and spec.task in _learns(name))
        raise SpecInvalid(
            what=f"the trainer {named} does not learn {spec.task}",
            why=f"it learns {listed(trainer.tasks)}",
            fix=f"set training.trainer to {able[0] if able else 'another one'}, or correct the task",
        )
    return cast("Trainer", trainer)


def content_of(trainer: Trainer, pipeline: Any) -> bytes:
    """Give what decides a fitted pipeline's scores, in the trainer's words or by its fitted attributes."""
    own = getattr(trainer, "content", None)
    return bytes(own(pipeline)) if own is not None else default_content(pipeline)


def trainer_code(spec: ModelSpec) -> str:
    """Name the code of a project's trainer, which is part of what decides its models.

    Returns:
        The SHA-256 of its file, or where the installed one comes from and its release.

    Raises:
        SpecInvalid: No trainer has that name.
        SourceMissing: Its file is not there.
    """
    named = spec.training.trainer
    if ".py:" in named:
        return digest_of_file(trainer_path(named, folder=spec.folder))
    point = _point(named)
    return f"{point.value} {point.dist.name} {point.dist.version}" if point.dist else point.value


def trainer_names() -> list[str]:
    """List every trainer that can be named, Baton's and those of installed packages."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the known name that looks most like `name`."""
    names = sorted(known)
    return (difflib.get_close_matches(name, names, n=1, cutoff=0.0) or names)[0]


def _installed(name: str) -> Any:
    point = _point(name)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise SourceMissing(
            what=f"the trainer {name!r} cannot be loaded", why=f"{point.value}: {error}", fix="install what it needs"
        ) from error


def _point(name: str) -> EntryPoint:
    points = {point.value: point for point in _points() if point.name == name}
    if not points:
        raise SpecInvalid(
            what=f"unknown trainer {name!r}",
            why=f"the trainers are {listed(trainer_names())}",
            fix=f"set training.trainer to {nearest(name, trainer_names())!r}, or to file.py:name beside model.yaml",
        )
    if len(points) > 1:
        raise SpecInvalid(
            what=f"the trainer {name!r} is ambiguous",
            why=f"it is offered as {listed(sorted(points))}",
            fix="uninstall the package that offers the unwanted one",
        )
    return next(iter(points.values()))


def _points() -> Iterable[EntryPoint]:
    return [
        *(EntryPoint(name=name, value=value, group=GROUP) for name, value in BUILT_IN.items()),
        *entry_points(group=GROUP),
    ]


@lru_cache
def _learns(name: str) -> Collection[str]:
    try:
        return frozenset(_installed(name).tasks)
    except BatonError:
        return frozenset()


def _check_interface(trainer: Any, named: str) -> None:
    tasks = getattr(trainer, "tasks", None)
    problems = []
    if not callable(getattr(trainer, "build", None)):
        problems.append("it has no function build(spec, *, threads)")
    if isinstance(tasks, str) or not isinstance(tasks, Collection) or not tasks:
        problems.append("it has no tasks, a tuple of binary, multiclass or regression")
    elif strangers := sorted(set(map(str, tasks)) - {"binary", "multiclass", "regression"}):
        problems.append(f"its tasks name {listed(strangers)}, which is none of binary, multiclass, regression")
    if problems:
        raise SpecInvalid(
            what=f"{named} is no trainer", why=listed(problems), fix="see docs/reference/trainers.md for one"
        )
