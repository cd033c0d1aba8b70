"""What a looked-at table is probably for: its key, times, label and features, each with the reason in a line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from baton.core.errors import Misuse, listed
from baton.core.input_spec import Kind
from baton.core.policy import Task
from baton.features.guess_words import about_key, about_times, seen
from baton.features.look import Look, Looked
from baton.features.plain_names import plain_names
from baton.features.typed_sql import literal, quoted

KEYS = re.compile(r"(^|_)(id|uuid|guid|key|no|nr|number|code|index|ref)$|^(id|uuid)_|^(unnamed_0|rownames|column_1)$")
EVENTS = (
    "event_time",
    "timestamp",
    "time_hour",
    "datetime",
    "date",
    "time",
    "created_at",
    "created",
    "ordered_at",
    "start",
)
KNOWN = re.compile(
    r"(known|label|outcome|closed|resolved|returned|paid|settled|finished|ended|updated|delivered|arrived)"
)
LABELS = (
    *(
        "label",
        "target",
        "y",
        "class",
        "outcome",
        "churn",
        "churned",
        "default",
        "defaulted",
        "fraud",
        "is_fraud",
        "late",
    ),
    *(
        "survived",
        "diagnosis",
        "species",
        "quality",
        "returned",
        "cancelled",
        "converted",
        "sold",
        "price",
        "sales",
        "response",
    ),
)
EPOCHS = re.compile(r"(time|date|stamp|epoch|_at|_ts)$|^ts$")
# A text with a value for nearly every row names the row; a number of classes beyond this is a number.
NAMES = 0.5
MANY_CLASSES = 20
LONG_TEXT = 60
# Beyond it a float64 no longer tells whole numbers apart.
DIGITS = 15
FAULTS = 0.01
# Taken by the columns that every snapshot and landed row has.
TAKEN = {
    "id",
    "moment",
    "block",
    "label",
    "label_known",
    "event_time",
    "known_time",
    "event_timestamp",
    "row_id",
    "reason",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person has said; None where it is left to guess."""

    label: str | None = None
    event_time: str | None = None
    known_time: str | None = None
    key: str | None = None
    entities: tuple[str, ...] = ()
    task: Task | None = None
    timezone: str | None = None
    timeless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A plan for a project; `reasons` says why of each part, in the order in which a person reads them."""

    label: str
    task: Task
    classes: tuple[str, ...]
    key: str | None
    event_time: str | None
    known_time: str | None
    entities: tuple[str, ...]
    features: tuple[str, ...]
    kinds: dict[str, Kind]
    forms: dict[str, str]
    naive: bool
    reasons: tuple[str, ...]


def guess(looked: Looked, wishes: Wishes) -> Guess:
    """Plan a project for a table.

    Raises:
        Misuse: A wish names no column, or nothing is left to predict or to predict from.
    """
    looks = {look.name: look for look in looked.columns}
    said = {place: _named(getattr(wishes, place), looks) for place in ("label", "event_time", "known_time", "key")}
    kinds, forms, why = _kinds(looks, wishes)
    entities = tuple(filter(None, (_named(name, looks) for name in wishes.entities)))
    event = None if wishes.timeless else said["event_time"] or _event_time(looks, kinds)
    known = said["known_time"] or _known_time(kinds, event)
    for place, name in (("event time", event), ("known time", known)):
        if name is not None and kinds[name] != "time":
            raise Misuse(what=f"{name} is no {place}", why=seen(looks[name]), fix="name a column of times")
    key = said["key"] or _key(looked, taken={said["label"], event, known})
    label = said["label"] or _label(looks, kinds, taken={key, event, known, *entities})
    task, classes, about = _task(looks[label], kinds[label], wishes.task)
    if task == "binary" and not classes and kinds[label] == "text":
        kinds = {**kinds, label: "number"}
    if classes:
        kinds = {**kinds, label: "text"}
    features, left_out = _features(looked, kinds, label=label, taken={key, event, known}, entities=entities)
    if not features:
        raise Misuse(what="no feature is left", why=listed(left_out), fix="give the table columns that say something")
    times = [name for name in (event, known) if name]
    naive = any(_is_naive(looks[name], forms.get(name)) for name in times)
    reasons = [
        about,
        about_key(key, looked),
        *about_times(event, known, looks, asked=wishes.timeless),
        *why,
        *left_out,
    ]
    return Guess(
        label=label,
        task=task,
        classes=classes,
        key=key,
        event_time=event,
        known_time=known,
        entities=entities,
        features=tuple(features),
        kinds=kinds,
        forms={name: forms[name] for name in times if name in forms},
        naive=naive,
        reasons=tuple(reasons),
    )


def _named(name: str | None, looks: dict[str, Look]) -> str | None:
    """Find a column by its plain name or the source's own."""
    if name is None:
        return None
    for look in looks.values():
        if name in (look.name, look.there) or plain_names([name]) == [look.name]:
            return look.name
    raise Misuse(what=f"there is no column {name!r}", why=f"there are {listed(looks)}", fix="name one of them")


def _kinds(looks: dict[str, Look], wishes: Wishes) -> tuple[dict[str, Kind], dict[str, str], list[str]]:
    kinds: dict[str, Kind] = {}
    forms: dict[str, str] = {}
    why: list[str] = []
    asked = {wishes.event_time, wishes.known_time}
    for name, look in looks.items():
        kinds[name] = "text"
        epoch = _epoch(look, asked=bool({name, look.there} & asked))
        if not look.present:
            continue
        if look.times >= (1 - FAULTS) * look.present or epoch:
            kinds[name] = "time"
            if epoch or look.form:
                forms[name] = epoch or str(look.form)
            if look.other_forms:
                why.append(f"{name} may be written as {look.form} or {look.other_forms[0]}: {look.form} is taken")
        elif look.truths == look.present and look.numbers < look.present:
            kinds[name] = "truth"
        elif look.numbers >= (1 - FAULTS) * look.present and not look.zeros_first and look.digits <= DIGITS:
            kinds[name] = "number"
            if look.numbers < look.present:
                why.append(f"{name} is a number but for {look.present - look.numbers:,} rows, which are set aside")
    return kinds, forms, why


def _epoch(look: Look, *, asked: bool) -> str | None:
    if look.whole < look.present or not (asked or EPOCHS.search(look.name)):
        return None
    return {10: "epoch_s", 13: "epoch_ms"}.get(look.digits)


def _is_naive(look: Look, form: str | None) -> bool:
    if form is None:
        return look.zoned < look.times
    return not form.startswith("epoch") and "%z" not in form


def _event_time(looks: dict[str, Look], kinds: dict[str, Kind]) -> str | None:
    times = [name for name, kind in kinds.items() if kind == "time" and looks[name].present == looks[name].rows]
    named = [name for name in EVENTS if name in times]
    rest = [name for name in times if not KNOWN.search(name)]
    return next(iter([*named, *rest, *times]), None)


def _known_time(kinds: dict[str, Kind], event: str | None) -> str | None:
    later = [name for name, kind in kinds.items() if kind == "time" and name != event and KNOWN.search(name)]
    return later[0] if later and event else None


def _key(looked: Looked, *, taken: set[str | None]) -> str | None:
    for look in looked.columns:
        whole = look.whole == look.rows or (look.present == look.rows and look.numbers < look.present)
        likely = KEYS.search(look.name) or look.steps
        close = look.distinct == look.rows and whole and not look.times
        if look.name not in taken and likely and close and looked.all_differ(look.name):
            return look.name
    return None


def _label(looks: dict[str, Look], kinds: dict[str, Kind], *, taken: set[str | None]) -> str:
    possible = [
        name
        for name, look in looks.items()
        if name not in taken and kinds[name] != "time" and _can_be_label(look, kinds[name])
    ]
    if not possible:
        raise Misuse(what="no column can be the label", why="all are ids, times or constant", fix="pass --label COLUMN")
    named = [name for wanted in LABELS for name in possible if name == wanted or name.removeprefix("is_") == wanted]
    return (named or possible[::-1])[0]


def _can_be_label(look: Look, kind: Kind) -> bool:
    if look.distinct < 2:  # noqa: PLR2004 - one value is nothing to predict
        return False
    return kind != "text" or look.distinct <= MANY_CLASSES


def _task(look: Look, kind: Kind, wished: Task | None) -> tuple[Task, tuple[str, ...], str]:
    """Tell the task and its classes from a label; of two classes the rarer one is predicted."""
    values = [value for value, _ in look.values]
    few = 0 < len(values) <= MANY_CLASSES and (kind != "number" or look.whole == look.present)
    task: Task = wished or ("binary" if look.distinct == 2 else "multiclass" if few else "regression")  # noqa: PLR2004
    name = look.name
    if look.distinct < 2:  # noqa: PLR2004 - see above
        raise Misuse(what=f"{name} cannot be the label", why="it never differs", fix="pass --label COLUMN")
    if task == "regression":
        if kind == "text":
            raise Misuse(what=f"{name} is no number", why=seen(look), fix="pass another --label or --task")
        return task, (), f"label {name}: a number, so it is a regression"
    if not values or (task == "binary" and len(values) != 2):  # noqa: PLR2004 - what binary means
        raise Misuse(what=f"{name} does not fit {task}", why=seen(look), fix="pass another --task")
    share = look.values[-1][1] / look.present
    if task == "binary":
        positive = values[-1] if set(values) != {"0", "1"} and kind != "truth" else "1 or yes"
        about = f"label {name}: two values, {share:.1%} of them {values[-1]!r}; the chance of {positive} is predicted"
        plain = kind == "truth" or set(values) <= {"0", "1", "0.0", "1.0"}
        return task, () if plain else tuple(values), about
    classes = tuple(sorted(values))
    return task, classes, f"label {name}: {len(values)} classes, the rarest {values[-1]!r} with {share:.1%} of the rows"


def _features(
    looked: Looked, kinds: dict[str, Kind], *, label: str, taken: set[str | None], entities: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    features, left_out = [], []
    for look in looked.columns:
        if look.name == label or look.name in taken:
            continue
        why = _useless(look, kinds[look.name], looked.rows) or _tells(looked, look, label)
        if why is None:
            features.append(look.name)
        elif look.name not in entities:
            left_out.append(f"{look.name} is left out: {why}")
    return features, left_out


def _useless(look: Look, kind: Kind, rows: int) -> str | None:
    if not look.present:
        return "it has no value"
    if look.distinct == 1:
        return f"it is always {look.values[0][0]!r}" if look.present == look.rows else None
    if kind == "time":
        return "another time, which may come after the event"
    names_rows = look.distinct > NAMES * look.present and rows > MANY_CLASSES
    if kind == "text" and (names_rows or look.longest > LONG_TEXT):
        return "an id or free text, with a value of its own for most rows"
    whole = look.whole == look.present and look.distinct == look.present
    if kind == "number" and whole and (KEYS.search(look.name) or look.steps):
        return "it numbers the rows"
    return None


def _tells(looked: Looked, look: Look, label: str) -> str | None:
    """Say where a column of few values decides the label by itself, as the label under another name does."""
    if look.distinct > MANY_CLASSES or look.distinct < 2:  # noqa: PLR2004 - a constant tells nothing
        return None
    own, other = quoted(look.name), quoted(label)
    pairs = f"SELECT DISTINCT {own}, {other} FROM looked WHERE {own} IS NOT NULL AND {other} IS NOT NULL"
    decided = looked.count(f"SELECT count(*) FROM ({pairs})") <= look.distinct
    return f"its value alone decides {literal(label)}, which nothing known before does" if decided else None
