"""How results reach a terminal or a machine."""

from __future__ import annotations

import json
import sys
from typing import Any

from baton.core.digest import plain

PAGE_WIDTH = 160


def machine(value: object) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(json.dumps(plain(value), sort_keys=True, ensure_ascii=False) + "\n")


def line(text: str) -> None:
    """Print one line for a person."""
    sys.stdout.write(text + "\n")


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table for a person."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    # A pipe or a file has no edge to wrap at.
    Console(width=None if sys.stdout.isatty() else PAGE_WIDTH).print(shown)
