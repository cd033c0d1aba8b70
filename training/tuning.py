"""A seeded search for parameters, scored as the gate would on the newest training rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.errors import SpecInvalid, TrainingFailed, listed
from baton.core.policy import Range, TuningSpec
from baton.training.fit import fit, predict
from baton.training.metrics import HIGHER_IS_BETTER, measure
from baton.training.split import newest

if TYPE_CHECKING:
    import pandas as pd

    from baton.core.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of parameters and the metric that it reached; None with the reason where it could not be fitted."""

    number: int
    parameters: Mapping[str, Any]
    value: float | None
    seconds: float
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The best parameters of a search, and every trial of it.

    `cut` says that time ended the search before its last trial: another run
    may then try more or fewer, and find others.
    """

    parameters: Mapping[str, Any]
    metric: str
    value: float
    trials: tuple[Trial, ...]
    rows: int
    validation_rows: int
    cut: bool


def tune(spec: ModelSpec, train: pd.DataFrame, *, threads: int) -> Tuning:
    """Search `training.tuning.space`; give the result's parameters to `fit`.

    Trials are fitted on the older training rows and scored on whole blocks of
    the newest, none of which is in the holdout. The declared parameters are
    tried first where they lie in the space.

    Raises:
        SpecInvalid: There is no search to run, a range is empty, or a parameter is unknown to the trainer.
        EmptyWindow: The training rows cannot be divided.
        TrainingFailed: No trial could be fitted.
    """
    search = _search(spec)
    parts = newest(train, share=search.validation_share, group=spec.training.group, purpose="search for parameters")
    trials: list[Trial] = []

    def objective(trial: Any) -> float:
        tried = {name: _suggested(trial, name, space) for name, space in search.space.items()}
        begun = time.perf_counter()
        value, failure = _scored(spec, parts.older, parts.newest, tried, threads=threads)
        found = {"number": trial.number, "parameters": tried, "value": value, "failure": failure}
        trials.append(Trial(**found, seconds=time.perf_counter() - begun))
        return float("nan") if value is None else value

    best = _best(spec, search, objective, trials)
    assert best.value is not None
    return Tuning(
        parameters=best.parameters,
        metric=spec.gate.metric,
        value=best.value,
        trials=tuple(trials),
        rows=len(parts.older),
        validation_rows=len(parts.newest),
        cut=len(trials) < search.trials,
    )


def _search(spec: ModelSpec) -> TuningSpec:
    search = spec.training.tuning
    if search is None:
        raise SpecInvalid(
            what="there is no search to run", why="model.yaml has no training.tuning", fix="add a space to search"
        )
    problems = [problem for name, space in search.space.items() for problem in _problems(name, space)]
    if problems:
        raise SpecInvalid(
            what="training.tuning.space is refused", why=listed(problems), fix="correct the ranges and choices"
        )
    return search


def _problems(name: str, space: Range | list[Any]) -> Iterator[str]:
    if not isinstance(space, Range):
        if not space:
            yield f"{name} has no choices"
        return
    if space.low > space.high:
        yield f"{name} goes from {space.low:g} down to {space.high:g}"
    if space.log and space.low <= 0:
        yield f"{name} is log but begins at {space.low:g}"


def _suggested(trial: Any, name: str, space: Range | list[Any]) -> Any:
    if not isinstance(space, Range):
        # By position: a choice may be anything that YAML can say.
        return space[trial.suggest_categorical(name, list(range(len(space))))]
    if _whole(space):
        return trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(name, space.low, space.high, log=space.log)


def _whole(space: Range) -> bool:
    return space.low.is_integer() and space.high.is_integer()


def _scored(
    spec: ModelSpec, older: pd.DataFrame, newer: pd.DataFrame, tried: Mapping[str, Any], *, threads: int
) -> tuple[float | None, str]:
    try:
        scores = predict(fit(spec, older, threads=threads, parameters=tried), newer)
    except TrainingFailed as error:
        return None, str(error)
    labels = newer["label"].to_numpy(dtype=np.float64)
    value = measure(spec.gate.metric, labels, scores, quantile=spec.gate.quantile)
    if not np.isfinite(value):
        return None, f"{spec.gate.metric} is no number on the {len(newer)} newest training rows"
    return value, ""


def _best(spec: ModelSpec, search: TuningSpec, objective: Any, trials: list[Trial]) -> Trial:
    import optuna

    higher = spec.gate.metric in HIGHER_IS_BETTER
    with _quiet():
        sampler = optuna.samplers.TPESampler(seed=spec.seed)
        study = optuna.create_study(direction="maximize" if higher else "minimize", sampler=sampler)
        declared = _declared(spec, search)
        if declared is not None:
            study.enqueue_trial(declared)
        study.optimize(objective, n_trials=search.trials, timeout=search.seconds)
    scored = [(trial.value, trial) for trial in trials if trial.value is not None]
    if not scored:
        raise TrainingFailed(
            what=f"none of {len(trials)} trials could be scored",
            why=f"the first says: {trials[0].failure}" if trials else "training.tuning.seconds ended before the first",
            fix="correct training.tuning.space",
        )
    # The first of equals: a later one has nothing more to say.
    return (max if higher else min)(scored, key=lambda pair: pair[0])[1]


def _declared(spec: ModelSpec, search: TuningSpec) -> dict[str, Any] | None:
    """Give the declared parameters as a first trial, where each is inside the space."""
    first: dict[str, Any] = {}
    for name, space in search.space.items():
        value = spec.training.parameters.get(name)
        if isinstance(space, Range):
            if not isinstance(value, int | float) or not space.low <= value <= space.high:
                return None
            first[name] = int(value) if _whole(space) else float(value)
        elif value in space:
            first[name] = space.index(value)
        else:
            return None
    return first


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's log, which belongs to the process, to errors while a search runs."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
