"""The project's own code, loaded from beside `model.yaml`: its tables and the definitions of its features."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from baton.core.errors import SourceMissing, listed
from baton.core.spec import ModelSpec, TableSpec
from baton.features.project_file import call_named, load_file
from baton.features.snapshot_key import project_code

if TYPE_CHECKING:
    import pandas as pd


class Definitions(Protocol):
    """What a project says of its features: one definition for training, serving and tests."""

    def request(self, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Give one row per thing to predict: id, moment, entities and the features that the request carries."""

    def views(self, tables: Mapping[str, pd.DataFrame], *, as_of: datetime) -> dict[str, pd.DataFrame]:
        """Give each view's entity, `event_timestamp` and values, from what was known before `as_of`."""


def read_tables(spec: ModelSpec) -> dict[str, pd.DataFrame]:
    """Read every table that the project's reader gives, with its times in UTC; none where there is no reader.

    Raises:
        SourceMissing: The reader, a table or a column is not there, or a time
            has no zone or is missing; all problems are listed.
    """
    if spec.source.reader is None:
        return {}
    file, function = spec.source.reader.split(":")
    reader = _function(
        load_file(spec.folder / file, fix="correct source.reader in model.yaml"),
        function,
        fix="see source.reader in model.yaml",
    )
    found = call_named(reader, spec.source.reader)
    if not isinstance(found, Mapping):
        raise SourceMissing(
            what=f"{spec.source.reader} gave no tables",
            why=f"it returned {type(found).__name__}, not a mapping of name to data frame",
            fix="return {table: frame}",
        )
    problems = [p for name, table in spec.source.by_reader.items() for p in _problems(name, table, found)]
    if problems:
        raise SourceMissing(
            what=f"the tables of {spec.source.reader} do not fit model.yaml",
            why=listed(problems),
            fix="correct the reader or source.tables",
        )
    return {name: _in_utc(found[name], table) for name, table in spec.source.by_reader.items()}


def load_definitions(spec: ModelSpec) -> ProjectDefinitions:
    """Load the project's feature definitions, `request` and `views`, and check what they give whenever they are used.

    Raises:
        SourceMissing: The file or one of its two functions is not there; later,
            on use, a column that model.yaml names.
    """
    # Before loading, so that code which is edited meanwhile is not taken for what was loaded.
    code = project_code(spec)
    module = load_file(spec.folder / spec.features.definitions, fix="correct features.definitions in model.yaml")
    fix = f"define request(tables) and views(tables, *, as_of) in {spec.features.definitions}"
    return ProjectDefinitions(spec, _function(module, "request", fix=fix), _function(module, "views", fix=fix), code)


class ProjectDefinitions:
    """Definitions that refuse to give less than model.yaml names; `code` is the digest of what was loaded."""

    def __init__(self, spec: ModelSpec, request: Callable[..., Any], views: Callable[..., Any], code: str) -> None:
        self.code = code
        self._spec = spec
        self._request = request
        self._views = views

    def request(self, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Give the project's request rows, with every column that model.yaml names."""
        spec = self._spec
        rows = cast("pd.DataFrame", self._request(tables))
        needed = [spec.prediction.id, spec.prediction.moment, *spec.features.entities, *spec.features.request]
        self._refuse(_missing("request", needed, rows.columns))
        return rows

    def views(self, tables: Mapping[str, pd.DataFrame], *, as_of: datetime) -> dict[str, pd.DataFrame]:
        """Give the views of model.yaml, each with every column that it names."""
        found = cast("dict[str, pd.DataFrame]", self._views(tables, as_of=as_of))
        problems = []
        for name, view in self._spec.features.views.items():
            if name not in found:
                problems.append(f"no view {name!r}{_near(name, found)}")
            else:
                needed = [view.entity, "event_timestamp", *view.values]  # noqa: PD011 - a field of the spec, not a frame
                problems += _missing(f"view {name}", needed, found[name].columns)
        self._refuse(problems)
        return {name: found[name] for name in self._spec.features.views}

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            raise SourceMissing(
                what=f"{self._spec.features.definitions} does not give what model.yaml names",
                why=listed(problems),
                fix="correct the definitions or the features section",
            )


def _function(module: ModuleType, name: str, *, fix: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if callable(value)]
        raise SourceMissing(
            what=f"{Path(str(module.__file__)).name} has no function {name!r}", why=_near(name, names) or "", fix=fix
        )
    return cast("Callable[..., Any]", function)


def _problems(name: str, table: TableSpec, found: Mapping[str, Any]) -> Iterable[str]:
    import pandas as pd

    if name not in found:
        return [f"no table {name!r}{_near(name, found)}"]
    frame = found[name]
    problems = _missing(f"table {name}", [*table.key, table.event_time, table.known_time], frame.columns)
    for column in {table.event_time, table.known_time} & set(frame.columns):
        if not isinstance(frame[column].dtype, pd.DatetimeTZDtype):
            problems.append(f"{name}.{column} has no time zone: pd.to_datetime({column}, utc=True) gives it one")
        elif missing := int(frame[column].isna().sum()):
            problems.append(f"{name}.{column} is missing in {missing} rows")
    return problems


def _missing(where: str, needed: Iterable[str], columns: Iterable[str]) -> list[str]:
    names = [str(column) for column in columns]
    return [f"{where} has no column {c!r}{_near(c, names)}" for c in dict.fromkeys(needed) if c not in names]


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [str(n) for n in names], n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _in_utc(frame: pd.DataFrame, table: TableSpec) -> pd.DataFrame:
    # One unit for all times: pandas keeps others apart and refuses to join them.
    return frame.astype(dict.fromkeys((table.event_time, table.known_time), "datetime64[ns, UTC]"))
