"""The pages of guarantees name only tests that are there, and leave out no row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "reference" / name for name in ("guarantees.md", "serving.md")]
TEXT = "\n".join(page.read_text() for page in PAGES)
ROWS = [f"C{number}" for number in range(1, 17)] + ["D1", "D2", "D3", "D4", "D8", "D9", "D10", "D11"]
ROWS += [f"E{number}" for number in range(1, 9)] + ["E10"]
ROWS += ["K4", "K5", "L1", "L2", "L3"]
ROWS += [f"E{number}" for number in range(11, 19)]
ROWS += ["F1", "F2", "F3", "F4", "F5", "F6", "F8"]
ROWS += ["I1", "I2", "I3", "I4", "I6", "I7", "I9", "R1", "R2", "R6", "R8", "R9", "R10", "R16", "R17"]
# Serving's own page.
ROWS += [f"A{number}" for number in range(1, 20)] + ["F10"] + [f"J{number}" for number in (1, 2, 3, 4, 5, 7)]
ROWS += [f"B{number}" for number in range(1, 17)]
ROWS += [f"G{number}" for number in range(1, 10)] + [f"H{number}" for number in range(1, 11)] + ["K1", "K2", "K3"]
NAMED = re.compile(r"`(tests/[^`]+::[^`]+)`")
LINES = [line for line in TEXT.splitlines() if re.match(r"\| [A-Z]\d", line)]


@pytest.mark.parametrize("name", sorted(set(NAMED.findall(TEXT))))
def test_a_test_that_is_named_is_there(name: str) -> None:
    file, *path = name.split("::")
    node: ast.AST = ast.parse((ROOT / file).read_text())
    for part in path:
        inside = {each.name: each for each in getattr(node, "body", ()) if hasattr(each, "name")}
        assert part in inside, f"{file} has no {part}"
        node = inside[part]
    assert path[-1].startswith("test_")


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_there_once_with_a_test(row: str) -> None:
    (line,) = [line for line in LINES if line.startswith(f"| {row} |")]
    assert NAMED.search(line)
