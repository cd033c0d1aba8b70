"""Options that several commands share, and how a moment is read."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

Project = Annotated[Path, typer.Option("--project", "-p", help="Folder with model.yaml.")]
Home = Annotated[Path | None, typer.Option("--home", help="Folder for all state; BATON_HOME or .baton.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Act as if it were this moment (ISO 8601, UTC); now.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]
MOST_PORT = 65535
HERE = Path()


def moment(text: str | None, *, option: str = "--as-of") -> datetime:
    """Read a moment from the command line; without a zone it is UTC, without a text it is now."""
    if text is None:
        return datetime.now(timezone.utc)
    from baton.core.errors import Misuse

    try:
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=timezone.utc) if parsed.tzinfo is None else parsed.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise Misuse(
            what=f"{option} {text!r} is no moment",
            why="it is not ISO 8601",
            fix="write 2013-07-01 or 2013-07-01T06:00Z",
        ) from error
