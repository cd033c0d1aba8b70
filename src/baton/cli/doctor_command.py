"""The command that looks whether ledger, serving and MLflow agree."""

from __future__ import annotations

import sys
from pathlib import Path

from baton.cli import output
from baton.compose import platform

FAILED = 1


def doctor(project: Path, *, home: Path | None, as_json: bool) -> None:
    """Show every finding; exit 1 where one needs a hand."""
    from baton.flows.health import findings

    found = findings(platform(project, home=home))
    if as_json:
        output.machine(found)
    else:
        for finding in found:
            output.line(f"{'ok  ' if finding.well else 'LOOK'} {finding.what}: {finding.said}")
    if not all(finding.well for finding in found):
        sys.exit(FAILED)
