"""The project file: one declarative `model.yaml` that every stage reads.

Format version 1. A new key is added with a default; a key that changes meaning
gets a new name, and the old one is refused with a message that names the new.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from baton.core.digest import digest_of
from baton.core.errors import SpecInvalid, listed
from baton.core.input_spec import InputSpec
from baton.core.policy import (
    METRICS,
    ColumnName,
    DriftSpec,
    GateSpec,
    RetrainingSpec,
    RolloutSpec,
    Section,
    ServingSpec,
    Share,
    Task,
    TestSpec,
    TrainingSpec,
)
from baton.core.spec_problem import explain

SPEC_FILE = "model.yaml"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Expectation(Section):
    """One data test: a Great Expectations expectation by its own name and arguments."""

    type: str = Field(pattern=r"^expect_[a-z_]+$", description="Name of the expectation in Great Expectations.")
    severity: Literal["warn", "quarantine", "stop"] = Field(
        "stop", description="What a failure does: tell, set the bad rows aside, or stop the batch."
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="The expectation's own arguments.")


class TableSpec(Section):
    """One table of the source."""

    key: list[ColumnName] = Field(min_length=1, description="Columns that identify a row.")
    input: Name | None = Field(None, description="Input that its rows come from; the source's reader where left out.")
    columns: list[ColumnName] = Field(default_factory=list, description="Columns that it takes of its input; all.")
    present: list[ColumnName] = Field(
        default_factory=list, description="Columns of its input without which a row has not come yet, as a label."
    )
    times: Literal["columns", "landing"] = Field(
        "columns", description="`landing`: rows of an input carry no time, and both their times are when they land."
    )
    known_after_hours: float = Field(
        0, ge=0, description="How long after its event time a row of an input is known that has no known time."
    )
    event_time: ColumnName = Field("event_time", description="When it happened.")
    known_time: ColumnName = Field("known_time", description="When it became known.")
    expectations: list[Expectation] = Field(default_factory=list, description="Data tests of each landed batch.")
    quarantine_limit: Share = Field(0.01, description="Largest share of a batch that may be set aside.")

    def problems_with(self, name: str, taken: InputSpec) -> list[str]:
        """List what the table asks of its input that is not there."""
        needed = [*self.key, *self.columns, *self.present, *([self.event_time] if self.times == "columns" else [])]
        problems = [f"{name} takes {c!r}, which its input does not give" for c in needed if c not in taken.offered]
        if self.times == "columns":
            times = {self.event_time, self.known_time} & set(taken.columns)
            problems += [f"{name}.{c} is no time in its input" for c in sorted(times) if taken.columns[c] != "time"]
        return problems


class SourceSpec(Section):
    """Where rows come from."""

    reader: str | None = Field(
        None,
        pattern=r"^[\w./-]+\.py:[a-z_]\w*$",
        description="Function `file.py:name` beside this file that gives each table without an input as a data frame.",
    )
    inputs: dict[Name, InputSpec] = Field(default_factory=dict, description="Files and databases, read without code.")
    tables: dict[Name, TableSpec] = Field(min_length=1, description="Each table with its times, key and data tests.")

    @property
    def by_reader(self) -> dict[str, TableSpec]:
        """The tables that the reader gives."""
        return {name: table for name, table in self.tables.items() if table.input is None}

    @property
    def by_input(self) -> dict[str, tuple[TableSpec, InputSpec]]:
        """The tables that come from inputs, each with its own."""
        return {
            name: (table, self.inputs[table.input]) for name, table in self.tables.items() if table.input is not None
        }

    @model_validator(mode="after")
    def _can_be_read(self) -> SourceSpec:
        problems = [f"{name} has no input, and there is no reader" for name in self.by_reader if self.reader is None]
        problems += [
            f"{name}.input {table.input!r} is not among inputs"
            for name, table in self.tables.items()
            if table.input is not None and table.input not in self.inputs
        ]
        if not problems:
            problems = [p for name, (table, taken) in self.by_input.items() for p in table.problems_with(name, taken)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


class ViewSpec(Section):
    """One Feast feature view: values of an entity, each known from a moment on."""

    entity: ColumnName = Field(description="Column that holds the entity.")
    values: list[ColumnName] = Field(min_length=1, description="Feature columns.")
    ttl_hours: float | None = Field(None, gt=0, description="Age after which a value counts as missing.")
    fresh_minutes: float | None = Field(
        None, gt=0, description="How long after it became known a value must be online; above it there is an alarm."
    )

    @property
    def ttl(self) -> timedelta | None:
        """Age after which a value counts as missing, or None where it never does."""
        return None if self.ttl_hours is None else timedelta(hours=self.ttl_hours)

    @property
    def fresh(self) -> timedelta:
        """How far the online store may be behind; nothing where it is not declared."""
        return timedelta(minutes=self.fresh_minutes or 0)


class FeatureSpec(Section):
    """What the model sees."""

    definitions: str = Field(
        "features.py", description="File beside this one with `request(tables)` and `views(tables, as_of=...)`."
    )
    request: list[ColumnName] = Field(min_length=1, description="Features that the request itself carries.")
    text: list[ColumnName] = Field(default_factory=list, description="Features that are text; all others are numbers.")
    views: dict[Annotated[str, Field(pattern=r"^[a-z]\w*$")], ViewSpec] = Field(
        default_factory=dict, description="Feature views by name."
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature of the model, in the order in which it takes them."""
        return (*self.request, *(value for view in self.views.values() for value in view.values))

    @property
    def entities(self) -> tuple[str, ...]:
        """Every entity column, sorted."""
        return tuple(sorted({view.entity for view in self.views.values()}))


class PredictionSpec(Section):
    """What one prediction is about."""

    id: ColumnName = Field(description="Column that identifies the predicted thing.")
    moment: ColumnName = Field(description="Column with the moment of prediction; nothing known later may be used.")
    block: Literal["day", "hour", "none"] = Field(
        "day", description="Rows of one block share luck; resampling keeps them together."
    )
    timezone: str = Field("UTC", description="Zone in which a day begins.")


class LabelSpec(Section):
    """What is predicted, and when it is known."""

    table: Name = Field(description="Table that holds the label.")
    column: ColumnName = Field(description="Column that holds 0 or 1, a class, or a number.")
    classes: list[str] = Field(
        default_factory=list,
        description="Classes of the label in the order of their scores; of two, the second is predicted.",
    )
    wait_hours: float = Field(0, ge=0, description="How long after the prediction moment nearly every label has come.")


class ModelSpec(Section):
    """A Baton project."""

    name: Name = Field(description="Name of the model, in the registry and in addresses.")
    question: str = Field("", description="What the model answers, as a person would ask it.")
    task: Task = Field(
        "binary", description="What is predicted: the chance of a 1, the chance of each class, or a number."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    source: SourceSpec = Field(description="Where rows come from.")
    features: FeatureSpec = Field(description="What the model sees.")
    prediction: PredictionSpec = Field(description="What one prediction is about.")
    label: LabelSpec = Field(description="What is predicted, and when it is known.")
    training: TrainingSpec = Field(TrainingSpec(), description="How a challenger is trained.")
    tests: TestSpec = Field(TestSpec(), description="Model tests that a challenger must pass.")
    gate: GateSpec = Field(GateSpec(), description="What a challenger must show.")
    drift: DriftSpec = Field(DriftSpec(), description="When a served window counts as moved.")
    retraining: RetrainingSpec = Field(RetrainingSpec(), description="When a challenger is trained.")
    rollout: RolloutSpec = Field(RolloutSpec(), description="How a challenger comes to be champion.")
    serving: ServingSpec = Field(ServingSpec(), description="How the champion is served.")

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder that holds the project file and the code beside it."""
        return self._folder

    @property
    def digest(self) -> str:
        """The SHA-256 of everything declared, whatever the file's layout."""
        return digest_of(self.model_dump(mode="json"))

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ModelSpec:
        problems: list[str] = []
        if self.label.table not in self.source.tables:
            problems.append(
                f"label.table {self.label.table!r} is not among source.tables ({listed(self.source.tables)})"
            )
        names = self.features.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            problems.append(f"features named twice: {listed(twice)}")
        strangers = [name for name in self.features.text if name not in names]
        if strangers:
            problems.append(f"features.text names no feature: {listed(strangers)}")
        problems += self._about_the_task()
        problems += self._about_features_named_elsewhere(names)
        if self.drift.warn > self.drift.alarm:
            problems.append(f"drift.warn {self.drift.warn} is above drift.alarm {self.drift.alarm}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _about_the_task(self) -> list[str]:
        problems = []
        count = len(self.label.classes)
        if self.gate.metric not in METRICS[self.task]:
            problems.append(f"gate.metric {self.gate.metric!r} is none of {self.task}: {listed(METRICS[self.task])}")
        if len(set(self.label.classes)) < count:
            problems.append("label.classes names a class twice")
        if self.task == "multiclass" and count < 3:  # noqa: PLR2004 - two classes are binary
            problems.append("label.classes must list the three or more classes of a multiclass label")
        if self.task == "binary" and count not in {0, 2}:
            problems.append("label.classes of a binary label are two, or left out where it holds 0 and 1")
        if self.task == "regression" and (count or self.training.calibration != "none"):
            problems.append("a regression has neither label.classes nor training.calibration")
        return problems

    def _about_features_named_elsewhere(self, names: tuple[str, ...]) -> list[str]:
        tests = self.tests
        named = {
            "training.group": [self.training.group] if self.training.group else [],
            "tests.invariance": [test.feature for test in tests.invariance],
            "tests.direction": [test.feature for test in tests.direction],
            "tests.minimum": [column for test in tests.minimum for column in test.where],
            "tests.slices.columns": tests.slices.columns or [],
            "tests.fairness.columns": [column for test in tests.fairness for column in test.columns],
        }
        strangers = {place: [name for name in found if name not in names] for place, found in named.items()}
        return [f"{place} names no feature: {listed(missing)}" for place, missing in strangers.items() if missing]


def load_spec(path: Path) -> ModelSpec:
    """Read and check a project file; `path` is the file or the folder that holds it.

    Raises:
        SpecInvalid: The file is missing, is not YAML, or says something that
            is unknown or impossible; all problems are listed, unknown keys
            with the nearest known one.
    """
    file = path / SPEC_FILE if path.is_dir() else path
    if not file.is_file():
        raise SpecInvalid(
            what=f"no project file at {file}",
            why="a project is a folder with a model.yaml",
            fix="pass --project FOLDER",
        )
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it is not UTF-8 text"
        raise SpecInvalid(what=f"{file} is not valid YAML", why=f"{reason}{where}", fix="mend that line") from error
    if not isinstance(content, Mapping):
        raise SpecInvalid(
            what=f"{file} holds no settings",
            why="its top level is not a mapping",
            fix="start from examples/flights/model.yaml",
        )
    spec = spec_from(content, origin=str(file))
    spec._folder = file.parent.resolve()
    return spec


def spec_from(content: Mapping[str, Any], *, origin: str = SPEC_FILE) -> ModelSpec:
    """Check settings that are already read; see `load_spec`."""
    try:
        return ModelSpec.model_validate(content)
    except ValidationError as error:
        problems = [explain(problem, ModelSpec) for problem in error.errors()]
        raise SpecInvalid(
            what=f"{origin} is refused", why=listed(problems), fix="see docs/reference/model-yaml.md"
        ) from error
