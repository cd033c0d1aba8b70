"""Great Expectations as the data tests: suites from model.yaml, one shared context, Data Docs of what was found."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from baton.core.errors import DependencyDown
from baton.core.spec import Expectation, ModelSpec
from baton.settings import QUIET
from baton.validation.days import COMPARED_DAYS, Outside
from baton.validation.duckdb_days import Stretch, compare_days
from baton.validation.great_expectations_answers import COMPLETE, DAYS, answer_all, finding
from baton.validation.great_expectations_builder import build_suite
from baton.validation.suite import Checked, Finding, drop_repeated, sort_out

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

# An expectation about the table as a whole; all others speak of a column and say nothing where there is no row.
WHOLE_TABLE = "expect_table_"
# Asked of every pandas batch, whatever the table.
SOURCE = "batches"


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

    def check(
        self,
        table: str,
        rows: pd.DataFrame,
        *,
        batch: str,
        before: pd.DataFrame | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Checked:
        """Test one batch of a table.

        A table without expectations passes nothing: its report says that no
        expectation was checked, and has not passed.

        Args:
            table: Name of the table in model.yaml.
            rows: The batch.
            batch: Name of the batch, for the report and the Data Docs.
            before: Rows that became known earlier, which its days are compared with.
            since: When the batch begins, None for a first one.
            until: When it ends; with its newest row where left out.

        Raises:
            SpecInvalid: model.yaml names an unknown expectation, or gives it
                arguments that it does not take.
        """
        declared = self._spec.source.tables[table]
        rows, repeated = drop_repeated(rows, declared, table)
        stretch = Stretch(before=before, since=since, until=until)
        findings = self._find(table, rows.reset_index(drop=True), batch, stretch) if declared.expectations else []
        findings = [*findings, *repeated] if findings else []
        checked = sort_out(table, declared, rows, findings, batch=batch, suite=self._name(table))
        report = checked.report
        log.info(
            "batch_checked",
            extra={"table": table, "batch": batch, "passed": report.passed, "quarantined": report.quarantined},
        )
        return checked

    def looks_back(self, table: str) -> timedelta | None:
        """Give how long before a batch the rows begin that it is compared with, or None where it is with none."""
        declared = [e for e in self._spec.source.tables[table].expectations if e.type == DAYS]
        # One day more, since a batch need not begin where a day does.
        return max((timedelta(days=e.arguments.get("days", COMPARED_DAYS) + 1) for e in declared), default=None)

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

    def _find(self, table: str, rows: pd.DataFrame, batch: str, stretch: Stretch) -> list[Finding]:
        declared = self._spec.source.tables[table].expectations
        asked = [e for e in declared if len(rows) or e.type.startswith(WHOLE_TABLE)]
        silent = [_vacuous(e) for e in declared if e not in asked]
        suite = self._suite(table, asked)
        if not asked:
            return silent
        try:
            results, answers = answer_all(
                suite.expectations,
                rows,
                compare=partial(self._compare, table, rows, stretch),
                own_engine=partial(self._own_engine, rows),
            )
        except Exception as error:
            raise DependencyDown(
                what=f"the data tests of {table} could not run",
                why=f"{type(error).__name__}: {error}",
                fix=f"remove {self._folder} and check again",
            ) from error
        self._keep(table, _suite_result(self._name(table), results), batch)
        found = [finding(e, r, a) for e, r, a in zip(asked, results, answers, strict=True)]
        return [*silent, *found]

    def _compare(
        self, table: str, rows: pd.DataFrame, stretch: Stretch, going_on: NDArray[np.bool_], expectation: Any
    ) -> list[Outside]:
        """Compare the days of a batch with those before them."""
        spec = self._spec.source.tables[table]
        return compare_days(
            rows[going_on],
            stretch,
            key=spec.key,
            known_time=spec.known_time,
            days=expectation.days,
            width=expectation.width,
            ignore=expectation.ignore,
            timezone=self._spec.prediction.timezone,
        )

    def _own_engine(self, rows: pd.DataFrame, expectations: Sequence[Any]) -> Sequence[Any]:
        import great_expectations as gx

        # An expectation belongs to one suite, and is known by its id.
        copies = [each.copy(update={"id": None}) for each in expectations]
        suite = gx.ExpectationSuite(name="rest", expectations=copies)
        results: Sequence[Any] = self._batch(rows).validate(suite, result_format=COMPLETE).results
        return results

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
            self._suites[table] = suites.add_or_update(build_suite(self._name(table), table, declared))
        if asked is None or len(asked) == len(declared):
            return self._suites[table]
        return build_suite(self._name(table), table, asked)

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


def _suite_result(name: str, results: Sequence[Any]) -> Any:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.validator.validation_statistics import calc_validation_statistics

    counted = calc_validation_statistics(list(results))._asdict()
    return ExpectationSuiteValidationResult(
        success=counted.pop("success"),
        results=list(results),
        suite_name=name,
        statistics=counted,
        meta={"expectation_suite_name": name},
    )


def _vacuous(expectation: Expectation) -> Finding:
    column = expectation.arguments.get("column")
    return Finding(expectation=expectation.type, column=column, severity=expectation.severity, met=True)
