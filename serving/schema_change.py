"""Which bundles may take another's place under load, and which may stand beside it: callers must not notice."""

from __future__ import annotations

from baton.core.bundle import Bundle
from baton.core.errors import IntegrityBroken, listed


def check_callers(served: Bundle, offered: Bundle) -> None:
    """Refuse a champion that today's callers would be refused by: all that they send has to be taken, and suffice."""
    sent = {field.name: field.kind for field in served.fields}
    taken = {field.name: field.kind for field in offered.fields}
    needed = {field.name for field in offered.fields if field.required}
    unlike = sorted(name for name in sent if taken.get(name) != sent[name])
    lacking = sorted(needed - sent.keys())
    if unlike or lacking:
        raise IntegrityBroken(
            what=f"bundle {offered.digest[:12]} is not served",
            why=f"its requests are not those of bundle {served.digest[:12]}: {listed([*unlike, *lacking])}",
            fix="change the callers, then start the service anew; a swap under load keeps the schema",
        )


def check_alike(champion: Bundle, challenger: Bundle) -> None:
    """Refuse a challenger whose rows are not the champion's: a request is read once, for both."""
    if [(f.name, f.kind) for f in champion.fields] != [(f.name, f.kind) for f in challenger.fields]:
        raise IntegrityBroken(
            what=f"bundle {challenger.digest[:12]} is not served beside {champion.digest[:12]}",
            why="it takes other fields, or in another order",
            fix="promote it without a rollout, and start the service anew",
        )
    if (champion.task, champion.classes) != (challenger.task, challenger.classes):
        raise IntegrityBroken(
            what=f"bundle {challenger.digest[:12]} is not served beside {champion.digest[:12]}",
            why="it answers another question",
            fix="promote it without a rollout, and start the service anew",
        )
