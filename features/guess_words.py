"""The reasons of a guess, in words."""

from __future__ import annotations

from collections.abc import Mapping

from baton.features.look import Look, Looked


def about_key(key: str | None, looked: Looked) -> str:
    """Say what identifies a row."""
    if key is None:
        return "key: no column identifies a row, so each gets a row_id of its content; an edited row is a new row"
    return f"key {key}: it differs in all {looked.rows:,} rows"


def about_times(event: str | None, known: str | None, looks: Mapping[str, Look], *, asked: bool) -> list[str]:
    """Say what the times are, or what is not promised without one."""
    if event is None:
        why = "you said so" if asked else "no column is a time in every row"
        return [
            (
                f"time: none, {why}: promises about time are OFF; the holdout is drawn by row, a leak from the future"
                " would not show, and nothing is said of how the model ages"
            )
        ]
    look = looks[event]
    zone = "each names its zone" if look.zoned == look.times and not look.form else "some name no zone"
    said = [f"event time {event}: {zone}"]
    if known is None:
        return [
            *said,
            "label known: at its event time; pass --known-time COLUMN, or set known_after_hours in model.yaml",
        ]
    return [*said, f"label known at {known}"]


def seen(look: Look) -> str:
    """Say what a column holds."""
    values = [value for value, _ in look.values[:5]]
    return f"it has {look.distinct:,} values" + (f" such as {', '.join(values)}" if values else "")
