"""Great Expectations as the data tests: suites from model.yaml, one shared context, Data Docs of what was found."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from baton.core.errors import DependencyDown, SpecInvalid, listed
from baton.core.spec import Expectation, ModelSpec
from baton.settings import QUIET
from baton.validation.suite import Checked, Finding, sort_out

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

EXAMPLES = 5
DETAIL = 300
# An expectation about the table as a whole; all others speak of a column and say nothing where there is no row.
WHOLE_TABLE = "expect_table_"
COMPLETE = {"result_format": "COMPLETE", "include_unexpected_rows": False, "partial_unexpected_count": EXAMPLES}
# Asked of every pandas batch, whatever the table.
SOURCE = "batches"
# Where an expectation remembers its place in model.yaml.
PLACE = "place"


class DataTests:
    """The data tests of a project's tables; results and their pages are kept under one folder."""

    def __init__(self, folder: Path, spec: ModelSpec) -> None:
        self._folder = folder.absolute()
        self._spec = spec
        self._opened: Any = None
        self._suites: dict[str, Any] = {}
        self._passing: dict[str, Any] = {}

    def prepare(self) -> None:
        """Open Great Expectations, which takes seconds, before the first batch has to wait for it."""
        self._context()

    def check(self, table: str, rows: pd.DataFrame, *, batch: str) -> Checked:
        """Test one batch of a table.

        A table without expectations passes nothing: its report says that no
        expectation was checked, and has not passed.

        Args:
            table: Name of the table in model.yaml.
            rows: The batch.
            batch: Name of the batch, for the report and the Data Docs.

        Raises:
            SpecInvalid: model.yaml names an unknown expectation, or gives it
                arguments that it does not take.
        """
        declared = self._spec.source.tables[table]
        findings = self._find(table, rows.reset_index(drop=True), batch) if declared.expectations else []
        checked = sort_out(table, declared, rows, findings, batch=batch, suite=self._name(table))
        report = checked.report
        log.info(
            "batch_checked",
            extra={"table": table, "batch": batch, "passed": report.passed, "quarantined": report.quarantined},
        )
        return checked

    def build_docs(self) -> Path:
        """Render the pages of the kept results, every failed batch and the newest passing one; gives the index."""
        context = self._context()
        for table in self._spec.source.tables:
            if self._spec.source.tables[table].expectations:
                self._suite(table)
        pages = context.build_data_docs()
        return Path(unquote(urlparse(next(iter(pages.values()))).path))

    def _name(self, table: str) -> str:
        return f"{self._spec.name}-{table}"

    def _find(self, table: str, rows: pd.DataFrame, batch: str) -> list[Finding]:
        declared = self._spec.source.tables[table].expectations
        asked = [e for e in declared if len(rows) or e.type.startswith(WHOLE_TABLE)]
        silent = [_vacuous(e) for e in declared if e not in asked]
        suite = self._suite(table, asked)
        if not asked:
            return silent
        try:
            results = self._batch(rows).validate(suite, result_format=COMPLETE)
        except Exception as error:
            raise DependencyDown(
                what=f"the data tests of {table} could not run",
                why=f"{type(error).__name__}: {error}",
                fix=f"remove {self._folder} and check again",
            ) from error
        self._keep(table, results, batch)
        # Great Expectations may answer in another order than it was asked.
        answered = {result.expectation_config.meta[PLACE]: result for result in results.results}
        return [*silent, *(_finding(e, answered[place]) for place, e in enumerate(asked))]

    def _context(self) -> Any:
        if self._opened is None:
            os.environ.setdefault("GX_ANALYTICS_ENABLED", QUIET["GX_ANALYTICS_ENABLED"])
            import great_expectations as gx

            # It warns and informs at every step of its own; failures come as results.
            logging.getLogger("great_expectations").setLevel(logging.ERROR)
            self._folder.mkdir(parents=True, exist_ok=True)
            context = gx.get_context(mode="file", project_root_dir=str(self._folder))
            context.variables.progress_bars = {"globally": False}
            self._opened = context
        return self._opened

    def _batch(self, rows: pd.DataFrame) -> Any:
        asset = self._context().data_sources.add_or_update_pandas(SOURCE).add_dataframe_asset("rows")
        return asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": rows})

    def _suite(self, table: str, asked: list[Expectation] | None = None) -> Any:
        """Give the suite of some expectations of a table; the whole table's is built once and kept for the docs."""
        declared = self._spec.source.tables[table].expectations
        if table not in self._suites:
            suites = self._context().suites
            self._suites[table] = suites.add_or_update(_suite(self._name(table), table, declared))
        if asked is None or len(asked) == len(declared):
            return self._suites[table]
        return _suite(self._name(table), table, asked)

    def _keep(self, table: str, results: Any, batch: str) -> None:
        """Store a result for the docs: every failure, and of passing ones the newest, so that the pages stay few."""
        from great_expectations.core.run_identifier import RunIdentifier
        from great_expectations.data_context.types.resource_identifiers import (
            ExpectationSuiteIdentifier,
            ValidationResultIdentifier,
        )

        run = RunIdentifier(run_name=batch)
        results.meta |= {"run_id": run, "validation_time": run.run_time, "batch_parameters": None}
        suite = ExpectationSuiteIdentifier(name=self._name(table))
        key = ValidationResultIdentifier(batch_identifier=table, expectation_suite_identifier=suite, run_id=run)
        store = self._context().validation_results_store
        store.set(key=key, value=results)
        if not results.success:
            return
        if table in self._passing:
            store.remove_key(self._passing[table])
        self._passing[table] = key


def _suite(name: str, table: str, expectations: Iterable[Expectation]) -> Any:
    import great_expectations as gx

    problems: list[str] = []
    built = [_built(expectation, place, problems) for place, expectation in enumerate(expectations)]
    if problems:
        raise SpecInvalid(
            what=f"the expectations of table {table} cannot be checked",
            why=listed(problems),
            fix="see the gallery at greatexpectations.io/expectations",
        )
    return gx.ExpectationSuite(name=name, expectations=built)


def _built(expectation: Expectation, place: int, problems: list[str]) -> Any:
    """Build one expectation; what is wrong with it is added to the problems."""
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations import registry

    try:
        kind = registry.get_expectation_impl(expectation.type)
    except ExpectationNotFoundError:
        known = registry.list_registered_expectation_implementations()
        problems.append(f"unknown expectation {expectation.type!r}{_near(expectation.type, known)}")
        return None
    try:
        return kind(**expectation.arguments, meta={PLACE: place})
    except (TypeError, ValueError) as error:
        # Pydantic's error is a ValueError that lists each argument.
        listing: list[dict[str, Any]] = getattr(error, "errors", list)()
        reasons = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in listing] or [str(error)]
        strangers = [name for name in expectation.arguments if name not in kind.__fields__]
        hints = [f"{name!r}{_near(name, kind.__fields__)}" for name in strangers]
        problems.append(f"{expectation.type} does not take these arguments ({', '.join(hints or reasons)})")
        return None


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _vacuous(expectation: Expectation) -> Finding:
    column = expectation.arguments.get("column")
    return Finding(expectation=expectation.type, column=column, severity=expectation.severity, met=True)


def _finding(expectation: Expectation, answer: Any) -> Finding:
    result, column = answer.result, expectation.arguments.get("column")
    raised = _raised(answer.exception_info)
    places = tuple(int(place) for place in result.get("unexpected_index_list") or ())
    examples = tuple(str(value) for value in (result.get("partial_unexpected_list") or [])[:EXAMPLES])
    return Finding(
        expectation=expectation.type,
        column=column,
        # What could not be computed was not tested, and what was not tested does not pass.
        severity="stop" if raised else expectation.severity,
        met=bool(answer.success),
        unexpected=int(result.get("unexpected_count") or 0),
        places=() if answer.success else places,
        examples=examples,
        detail=raised or _detail(expectation, result),
    )


def _detail(expectation: Expectation, result: Mapping[str, Any]) -> str:
    wanted = ", ".join(f"{k} {v}" for k, v in expectation.arguments.items() if k != "column")
    found = f", found {result['observed_value']}" if "observed_value" in result else ""
    return f"{expectation.arguments.get('column', 'table')} fails {expectation.type} ({wanted}){found}"[:DETAIL]


def _raised(info: Mapping[str, Any] | None) -> str:
    """Give what was raised while an expectation was computed; it comes flat, or under the name of each metric."""
    entries = [info or {}, *(entry for entry in (info or {}).values() if isinstance(entry, Mapping))]
    messages = [str(e.get("exception_message")) for e in entries if e.get("raised_exception")]
    return " ".join(messages[0].split())[:DETAIL] if messages else ""
