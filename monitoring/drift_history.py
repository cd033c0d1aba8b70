"""Daily drift reports, one JSON line each, so that a lasting alarm can be told from a new one."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from baton.core.digest import canonical_json
from baton.core.drift_report import ColumnDrift, DriftReport, Level, Sign


class DriftHistory:
    """The reports of one project; of two for the same moment and model the later one counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reports: dict[tuple[str, datetime], DriftReport] | None = None

    def add(self, report: DriftReport) -> None:
        """Append a report; looking twice at the same window adds nothing new."""
        known = self._known()
        place = (report.digest, report.end)
        if known.get(place) == report:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as stream:
            stream.write(_line_break(stream) + canonical_json(report))
        known[place] = report

    def of(self, digest: str) -> tuple[DriftReport, ...]:
        """Give every report of one champion, oldest first."""
        found = [report for (model, _), report in self._known().items() if model == digest]
        return tuple(sorted(found, key=lambda report: report.end))

    def all(self) -> tuple[DriftReport, ...]:
        """Give every report, oldest first."""
        return tuple(sorted(self._known().values(), key=lambda report: report.end))

    def _known(self) -> dict[tuple[str, datetime], DriftReport]:
        if self._reports is None:
            lines = (
                self._path.read_text(encoding="utf-8", errors="replace").splitlines() if self._path.is_file() else []
            )
            reports = [report for line in lines if (report := _report(line)) is not None]
            self._reports = {(report.digest, report.end): report for report in reports}
        return self._reports


def _line_break(stream: BinaryIO) -> bytes:
    """Give what ends a line that a killed process has left unfinished, so that it spoils no other."""
    if stream.seek(0, os.SEEK_END) == 0:
        return b""
    stream.seek(-1, os.SEEK_END)
    return b"" if stream.read(1) == b"\n" else b"\n"


def _report(line: str) -> DriftReport | None:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError:
        # A line of a process that was killed while writing.
        return None
    return DriftReport(
        model=fields["model"],
        digest=fields["digest"],
        start=datetime.fromisoformat(fields["start"]),
        end=datetime.fromisoformat(fields["end"]),
        rows=fields["rows"],
        score=_column(fields["score"]) if fields["score"] else None,
        columns=tuple(_column(column) for column in fields["columns"]),
    )


def _column(fields: dict[str, Any]) -> ColumnDrift:
    return ColumnDrift(**{**fields, "level": Level(fields["level"]), "sign": Sign(fields.get("sign", "distribution"))})
