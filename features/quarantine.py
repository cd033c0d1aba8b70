"""Rows that were set aside: to look at, and to let in after all, by somebody who says why.

Format version 1: `releases/<table>/<number>.parquet` holds the rows of one
release as they will land, `<number>.json` beside it who released which of the
quarantined rows, when and why. A release counts once its JSON is there, which
is made only if no other release has that number; Parquet without it was left by
a process that died.

A released row becomes known at the moment of its release, so what was known
before stays what it was. The next landing through that moment takes it in, and
no data test sets it aside again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.core.digest import canonical_json
from baton.core.errors import Conflict, DataRefused, Misuse, listed
from baton.core.spec import ModelSpec
from baton.core.whole_file import replace_file
from baton.features.durable import write_parquet

if TYPE_CHECKING:
    import pandas as pd

    from baton.features.landing import Batch, Landing

REASON = "reason"
# The place of a row among all that were ever set aside of its table, from 1; it never changes.
NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Who let which quarantined rows of a table land, when and why."""

    table: str
    numbers: tuple[int, ...]
    who: str
    why: str
    at: datetime


class Quarantine:
    """The quarantined rows of a project, and their releases."""

    def __init__(self, folder: Path, spec: ModelSpec, landing: Landing) -> None:
        self._folder = folder
        self._spec = spec
        self._landing = landing

    def waiting(self, table: str) -> pd.DataFrame:
        """Give the rows of a table that are set aside and not released, each with its `number` and `reason`.

        Raises:
            Misuse: There is no such table.
        """
        rows = self._all(table)
        released = {number for release in self.releases(table) for number in release.numbers}
        return rows[~rows[NUMBER].isin(released)] if len(rows) else rows

    def releases(self, table: str) -> tuple[Release, ...]:
        """Give every release of a table, oldest first."""
        return tuple(_read(file) for file in self._records(table))

    def release(self, table: str, numbers: Sequence[int], *, who: str, why: str, at: datetime) -> Release:
        """Let some rows land with the next batch.

        Raises:
            Misuse: A row is not waiting, nothing is said why, or the moment
                lies before what has landed.
            DataRefused: A row does not have the types of the landed ones.
            Conflict: Somebody else released rows of the table meanwhile.
        """
        at = at.astimezone(timezone.utc)
        taken = self._records(table)
        waiting = self.waiting(table)
        self._refuse(table, numbers, waiting, why=why, at=at)
        rows = self._as_landed(table, waiting[waiting[NUMBER].isin(numbers)].drop(columns=[NUMBER, REASON]), at)
        made = Release(table=table, numbers=tuple(sorted(numbers)), who=who, why=why, at=at)
        record = self._folder / "releases" / table / f"{len(taken) + 1:06d}.json"
        write_parquet(record.with_suffix(".parquet"), rows)
        _write_first(record, canonical_json(made))
        return made

    def released(self, batch: Batch) -> pd.DataFrame:
        """Give the rows that were released within a batch's stretch of time."""
        import pandas as pd

        found = [
            pd.read_parquet(file.with_suffix(".parquet"))
            for file in self._records(batch.table)
            if _read(file).at < batch.until and (batch.since is None or _read(file).at >= batch.since)
        ]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

    def _all(self, table: str) -> pd.DataFrame:
        if table not in self._spec.source.tables:
            tables = listed(self._spec.source.tables)
            raise Misuse(what=f"no table {table!r}", why=f"model.yaml has {tables}", fix="name one of them")
        rows = self._landing.quarantined(table)
        return rows.assign(**{NUMBER: range(1, len(rows) + 1)})

    def _records(self, table: str) -> list[Path]:
        return sorted((self._folder / "releases" / table).glob("*.json"))

    def _refuse(self, table: str, numbers: Sequence[int], waiting: pd.DataFrame, *, why: str, at: datetime) -> None:
        known = set(waiting[NUMBER]) if len(waiting) else set()
        through = self._landing.landed_through(table)
        problems = [f"row {number} is not waiting" for number in numbers if number not in known]
        problems += [] if numbers else ["no row was named"]
        problems += [] if why.strip() else ["nothing says why"]
        if through and at < through:
            problems.append(f"the table has landed through {through:%Y-%m-%d %H:%M}, after the moment of the release")
        if problems:
            raise Misuse(
                what=f"rows of {table} are not released", why=listed(problems), fix="see baton quarantine list"
            )

    def _as_landed(self, table: str, rows: pd.DataFrame, at: datetime) -> pd.DataFrame:
        """Give rows the types of the landed ones; in quarantine all text is kept as it was found."""
        import pandas as pd

        spec = self._spec.source.tables[table]
        landed = self._landing.read(table, as_of=at)
        rows = rows.assign(**{spec.known_time: pd.Timestamp(at)})
        try:
            typed = rows.astype({name: kind for name, kind in landed.dtypes.items() if name in rows})
        except (ValueError, TypeError) as error:
            raise DataRefused(
                what=f"rows of {table} are not released",
                why=f"they do not have the types of the landed ones ({str(error).splitlines()[0]})",
                fix="mend them in the source, which brings them again",
            ) from error
        return typed[list(landed)] if len(landed.columns) else typed


def _write_first(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    replace_file(beside, content)
    try:
        os.link(beside, path)
    except FileExistsError:
        raise Conflict(
            what="rows were released meanwhile", why=f"there is a release {path.stem} already", fix="list and try again"
        ) from None
    finally:
        beside.unlink()


def _read(file: Path) -> Release:
    said: dict[str, Any] = json.loads(file.read_bytes())
    return Release(**said | {"numbers": tuple(said["numbers"]), "at": datetime.fromisoformat(said["at"])})
