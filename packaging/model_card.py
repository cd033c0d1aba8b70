"""A bundle's model card: what the model is, for whoever finds the folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from baton.core.bundle import Field
from baton.core.digest import plain
from baton.packaging.rows import NUMBER, TEXT, names_of

if TYPE_CHECKING:
    from baton.packaging.parity import Parity

TOLD = ("part", "snapshot", "as_of", "trained_from", "trained_until", "rows", "base_rate", "config")


def model_card(
    *,
    model: str,
    model_digest: str,
    task: str,
    classes: Sequence[str],
    fields: Sequence[Field],
    parity: Parity,
    facts: Mapping[str, Any],
) -> bytes:
    """Write the card, from the bundle's own files alone."""
    told = {name: plain(facts[name]) for name in TOLD if name in facts}
    metrics = facts.get("metrics") or {}
    flips = "it calls no row another class" if not parity.flips else f"it calls {parity.flips} rows another class"
    exact = (
        f"On {parity.rows} rows of the holdout and {parity.edge_rows} edge rows the graph differs from the trained"
        f" pipeline by at most {parity.difference:.1e}, and {flips}."
    )
    parts = [
        f"# {model}",
        f"A {task} model{' of ' + ', '.join(classes) if classes else ''}, fitted pipeline `{model_digest[:12]}`.",
        "## Where it comes from",
        *_listed(told.items()),
        "## How well it does",
        "Measured by its twin, which was trained without the holdout.",
        *_listed(sorted(metrics.items())),
        "## What it takes",
        *_listed((("numbers", ", ".join(names_of(fields, NUMBER))), ("texts", ", ".join(names_of(fields, TEXT))))),
        "## How exact it is",
        exact,
        "## What it is not for",
        "It knows what the period above held. `profile.json` has the ranges; rows beyond are answered and flagged.",
    ]
    return ("\n\n".join(parts) + "\n").encode()


def _listed(items: Iterable[tuple[str, Any]]) -> list[str]:
    return ["\n".join(f"- {name}: {value}" for name, value in items) or "Nothing is said of it."]
