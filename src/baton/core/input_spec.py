"""Inputs of a project file: where rows come from and how their text becomes values, without any code."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from baton.core.policy import ColumnName, Section

Kind = Literal["number", "text", "truth", "time"]
# Made of a row's content where no column identifies it.
ROW_ID = "row_id"
MISSING = ["", "NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None", "#N/A"]


class CsvSpec(Section):
    """How a CSV file is written."""

    separator: str = Field(",", min_length=1, max_length=1, description="Between two values.")
    decimal: Literal[".", ","] = Field(".", description="Decimal mark of numbers.")
    thousands: Literal["", ".", ",", " ", "'"] = Field("", description="Mark between thousands.")
    encoding: str = Field("utf-8", description="Encoding of the text, by Python's name.")


class InputSpec(Section):
    """One place that rows come from; what it holds beyond these columns is refused by name."""

    path: str | None = Field(
        None,
        min_length=1,
        description="File, folder or glob of CSV or Parquet files, from this file, as `s3://`, or in"
        " an installed Python package as `package:name/file`. A single file holds"
        " rows as they are now; to a folder files are added.",
    )
    database: str | None = Field(
        None,
        min_length=1,
        description="`postgresql://` without its password, which comes from PGPASSWORD or .pgpass; or a DuckDB file.",
    )
    table: str | None = Field(None, min_length=1, description="Table or view of the database.")
    format: Literal["csv", "parquet"] = Field("csv", description="Format of the files.")
    csv: CsvSpec = Field(CsvSpec(), description="How CSV files are written.")
    timezone: str | None = Field(None, description="Zone of times that name none; without it such times are refused.")
    missing: list[str] = Field(default_factory=lambda: list(MISSING), description="Texts that stand for no value.")
    columns: dict[ColumnName, Kind] = Field(min_length=1, description="Each column that is read, with what it holds.")
    names: dict[ColumnName, str] = Field(default_factory=dict, description="Its name over there, where it differs.")
    formats: dict[ColumnName, str] = Field(
        default_factory=dict, description="How a time is written, as for strptime, or `epoch_s`, `epoch_ms`; ISO 8601."
    )
    ignored: list[str] = Field(default_factory=list, description="Columns that are there and are not read.")
    row_id: list[ColumnName] = Field(
        default_factory=list, description="Columns of whose content `row_id` is made, where none identifies a row."
    )

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, zone: str | None) -> str | None:
        try:
            if zone is not None:
                ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{zone!r} is no time zone, such as Europe/Berlin") from error
        return zone

    @model_validator(mode="after")
    def _is_one_place(self) -> InputSpec:
        if (self.path is None) == (self.database is None):
            raise ValueError("say either path or database")
        if (self.database is None) != (self.table is None):
            raise ValueError("database and table go together")
        for place in ("names", "formats", "row_id"):
            strangers = [name for name in getattr(self, place) if name not in self.columns]
            if strangers:
                raise ValueError(f"{place} names no column: {', '.join(strangers)}")
        return self

    @property
    def offered(self) -> list[str]:
        """Every column that a table can take."""
        return [*self.columns, *([ROW_ID] if self.row_id else [])]

    def there(self, column: str) -> str:
        """Give a column's name over there."""
        return self.names.get(column, column)
