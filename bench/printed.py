"""How simulations print their figures: a table for people, one JSON object a line for machines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

Line = dict[str, Any]


def print_parts(parts: Iterable[Callable[[], Iterable[Line]]]) -> None:
    """Print the figures of each part, under the first line of what it says of itself; as JSON as they are found."""
    for part in parts:
        print_lines(part(), title=f"\n{(part.__doc__ or '').splitlines()[0]}")


def print_lines(lines: Iterable[Line], *, title: str) -> None:
    """Print figures of one kind: JSON lines as they are found, or a table of all."""
    if os.environ.get("JSON"):
        for line in lines:
            print(json.dumps(line), flush=True)
        return
    found = list(lines)
    names = [name for name in found[0] if name != "bench"]
    table = Table(*(name.replace("_", " ") for name in names), title=title, title_justify="left")
    for line in found:
        table.add_row(*("" if line[name] is None else str(line[name]) for name in names))
    Console().print(table)
