"""Commands that try a plug-in against its contract."""

from __future__ import annotations

import sys
from pathlib import Path

from baton.cli import output

FAILED = 1


def trainer(named: str, *, as_json: bool) -> None:
    """Try a trainer on generated data of every task that it learns."""
    from baton.flows.trainer_check import findings_of

    file, in_a_file, name = named.partition(".py:")
    folder = Path(f"{file}.py").resolve().parent if in_a_file else Path.cwd()
    findings = findings_of(f"{Path(file).name}.py:{name}" if in_a_file else named, folder=folder)
    if as_json:
        output.machine(findings)
    else:
        for finding in findings:
            output.line(finding.line)
    if not all(finding.kept for finding in findings):
        sys.exit(FAILED)
