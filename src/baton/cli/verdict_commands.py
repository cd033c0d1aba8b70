"""Commands about verdicts: why one was given, the same again from its evidence, and a new one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from baton.cli import output
from baton.cli.ledger_commands import verdict_on
from baton.compose import Platform, platform

if TYPE_CHECKING:
    from baton.core.verdict import Verdict


def why(version: str | None, project: Path, *, home: Path | None, html: Path | None, as_json: bool) -> None:
    """Show the verdict on a version, check by check, with who promoted it on what."""
    baton = platform(project, home=home)
    verdict = verdict_on(baton, version)
    if html is not None:
        from baton.registry.verdict_page import verdict_html

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(verdict_html(verdict), encoding="utf-8")
        output.line(f"{html}")
        return
    if as_json:
        sys.stdout.write(verdict.to_json().decode())
        return
    from baton.registry.interval_plot import verdict_plot
    from baton.registry.verdict_text import verdict_line, verdict_rows

    output.line(verdict_line(verdict))
    for line in _history(baton, verdict):
        output.line(line)
    columns, rows = verdict_rows(verdict)
    output.table(f"{verdict.rows:,} rows in {verdict.blocks} blocks, {verdict.metric}", columns, rows)
    output.line(verdict_plot(verdict, plain=not sys.stdout.isatty()))


def _history(baton: Platform, verdict: Verdict) -> list[str]:
    """Say who made it champion when, from the ledger, and on what it was trained, from its manifest."""
    from baton.core.errors import BatonError
    from baton.flows.sealed_model import facts
    from baton.packaging.reader import open_contents

    lines = [
        f"epoch {entry.epoch}: {entry.kind} of version {entry.version} by {entry.actor}, {entry.at:%Y-%m-%d %H:%M} UTC:"
        f" {entry.reason}"
        for entry in baton.ledger.history(verdict.model)
        if entry.digest == verdict.challenger
    ]
    against = f"champion {verdict.champion[:12]} of epoch {verdict.epoch}" if verdict.champion else "no champion"
    lines.append(f"judged {verdict.judged_at:%Y-%m-%d %H:%M} UTC against {against}, by {verdict.method}")
    try:
        known = facts(open_contents(baton.bundles / verdict.challenger))
    except BatonError as error:
        return [*lines, f"its bundle cannot be opened: {error}"]
    trained = f"trained on {known['rows']:,} rows of snapshot {known['snapshot'][:12]}, labels until"
    return [*lines, f"{trained} {known['trained_until'][:16]}, bundle {verdict.challenger[:12]}"]


def replay(version: str, project: Path, *, home: Path | None, as_json: bool) -> None:
    """Decide again from the kept evidence; other bytes are an integrity error."""
    from baton.registry.evidence import replay as decide_again

    baton = platform(project, home=home)
    verdict = verdict_on(baton, version)
    again = decide_again(verdict, baton.evidence)
    if as_json:
        sys.stdout.write(again.to_json().decode())
        return
    size = len(again.to_json())
    output.line(f"version {version}: {again.decision.value} again, the same {size:,} bytes, verdict {again.id[:12]}")


def judge(version: str, project: Path, *, home: Path | None, as_json: bool, dry_run: bool) -> None:
    """Judge a version against the present champion; its new verdict is what a promotion rests on."""
    from baton.flows.rejudging import rejudge
    from baton.registry.verdict_text import verdict_line

    verdict = rejudge(platform(project, home=home), version, keep=not dry_run)
    if as_json:
        sys.stdout.write(verdict.to_json().decode())
        return
    output.line(f"version {version} against epoch {verdict.epoch}: {verdict_line(verdict)}")
