"""How a CSV file is written: its encoding, its separator, its decimal mark, found by looking."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from baton.core.input_spec import CsvSpec

SEPARATORS = (",", ";", "\t", "|")
LOOKED_AT = 200
CHUNK_BYTES = 1 << 20
# What spreadsheets and old exports write where it is not UTF-8.
OLD = "cp1252"
COMMA_NUMBER = re.compile(r"^[+-]?(\d+|\d{1,3}([. ']\d{3})+),\d+$")
POINT_THOUSANDS = re.compile(r"^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$")
COMMA_THOUSANDS = re.compile(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")


def csv_form(path: Path) -> CsvSpec:
    """Give how a file is written, from all of its bytes for the encoding and its first lines for the rest."""
    encoding = _encoding(path)
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as text:
        lines = list(itertools.islice(text, LOOKED_AT))
    separator = max(SEPARATORS, key=lambda mark: _columns(lines, mark))
    rows = list(csv.reader(lines, delimiter=separator))[1:]
    values = [value.strip() for row in rows for value in row if value.strip()]
    decimal, thousands = _marks(values, separator)
    return CsvSpec.model_validate(
        {"separator": separator, "decimal": decimal, "thousands": thousands, "encoding": encoding}
    )


def _encoding(path: Path) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        first = stream.read(CHUNK_BYTES)
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        try:
            chunk = first
            while chunk:
                decoder.decode(chunk)
                chunk = stream.read(CHUNK_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return OLD
    return "utf-8"


def _columns(lines: Sequence[str], separator: str) -> tuple[float, int]:
    """Say how well a separator fits: the share of rows as wide as the header, and how wide it is."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error:
        return (0.0, 0)
    width = len(rows[0]) if rows else 0
    if width < 2:  # noqa: PLR2004 - one column is no separation
        return (0.0, width)
    # The last row may have been cut off by looking at so many lines only.
    inner = rows[:-1] if len(lines) == LOOKED_AT else rows
    return (sum(len(row) == width for row in inner) / len(inner), width)


def _marks(values: Sequence[str], separator: str) -> tuple[str, str]:
    """Give the decimal mark and the one between thousands."""
    if separator != "," and any(COMMA_NUMBER.match(value) for value in values):
        points = any(POINT_THOUSANDS.match(value) for value in values)
        return ",", "." if points else ""
    # A comma between thousands is only told from a list of numbers where a column has nothing else.
    return ".", "," if any(COMMA_THOUSANDS.match(value) and len(value) > 6 for value in values) else ""  # noqa: PLR2004 - 1,234.5
