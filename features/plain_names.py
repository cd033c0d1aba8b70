"""Names of columns that every tool takes: small Latin letters, digits and underscores, each once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LONGEST = 60
# What the letters that do not decompose are commonly written as.
SPELT = {"ß": "ss", "æ": "ae", "ø": "o", "đ": "d", "ł": "l", "œ": "oe", "þ": "th", "%": " pct ", "#": " no "}


def plain_names(names: Sequence[str]) -> list[str]:
    """Give each name a plain one, in order: `Größe (cm)` is `grosse_cm`, the third `x` is `x_3`.

    Example:
        >>> plain_names(["Größe (cm)", "x", "x.2", "X", "2nd", "名前"])
        ['grosse_cm', 'x', 'x_2', 'x_3', 'c_2nd', 'column_6']
    """
    found: list[str] = []
    for place, name in enumerate(names, start=1):
        plain = _plain(name) or f"column_{place}"
        candidate, number = plain, 1
        while candidate in found:
            number += 1
            candidate = f"{plain}_{number}"
        found.append(candidate)
    return found


def _plain(name: str) -> str:
    spelt = "".join(SPELT.get(letter, letter) for letter in name.lower())
    letters = unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")[:LONGEST].strip("_")
    return f"c_{plain}" if plain[:1].isdigit() else plain
