"""A project begun from a table: what was guessed becomes a folder that ingests, trains and serves as it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from baton.core.errors import Conflict, EmptyWindow, TrainingFailed
from baton.core.input_spec import ROW_ID
from baton.core.policy import Metric
from baton.core.spec import SPEC_FILE, ModelSpec, spec_from
from baton.features.guess import TAKEN, Guess
from baton.features.input_files import PACKAGE
from baton.features.look import Looked
from baton.features.sample import sample_tables
from baton.flows.project_texts import features_text, model_text, readme_text, test_text
from baton.validation.derived_suite import derive_expectations

if TYPE_CHECKING:
    import pandas as pd

# Rows from which data tests and the trainer are chosen.
SAMPLE_ROWS = 100_000
TRIED_ROWS = 10_000
FEW_ROWS = 5_000
METRICS: Mapping[str, Metric] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}
# What a challenger may be worse by: nats, or a share of the label's standard deviation.
MARGIN = 0.02
MOST_HOLDOUT_DAYS = 28
LEAST_BLOCKS = 10
LOCAL = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A project that was written: its folder, and what was decided beside the guess, a line each."""

    folder: Path
    spec: ModelSpec
    reasons: tuple[str, ...]


def begin(looked: Looked, plan: Guess, folder: Path, *, timezone: str | None, now: datetime) -> Begun:
    """Write a project that runs; the folder is there whole or not at all.

    Args:
        looked: The source, still open.
        plan: What it is for.
        folder: Where the project shall be; its name is the model's.
        timezone: Zone of times that name none; UTC where None.
        now: Moment up to which rows are looked at.

    Raises:
        Conflict: The folder is there already and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(what=f"{folder} is there already", why="it is not empty", fix="choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    draft.mkdir()
    try:
        content = _content(looked, plan, folder, timezone=timezone)
        spec = _spec(content, draft)
        tables = sample_tables(spec, as_of=now, rows=SAMPLE_ROWS)
        reasons = _shape(content, plan, tables, looked.rows)
        spec = _spec(content, draft)
        for name, table in spec.source.tables.items():
            window = _training_window(tables[name], spec)
            found = derive_expectations(window, table, timezone=spec.prediction.timezone)
            content["source"]["tables"][name]["expectations"] = [e.model_dump(mode="json") for e in found]
        reasons += _choose_trainer(content, spec, tables)
        spec = _spec(content, draft)
        _write(draft, spec, content, plan)
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    spec._folder = folder
    return Begun(folder=folder, spec=spec, reasons=tuple(reasons))


def _spec(content: Mapping[str, Any], folder: Path) -> ModelSpec:
    spec = spec_from(content)
    spec._folder = folder
    return spec


def _content(looked: Looked, plan: Guess, folder: Path, *, timezone: str | None) -> dict[str, Any]:
    """Lay out everything that can be said before a row was read."""
    key, renamed = plan.key or ROW_ID, _renamed(plan)
    source = _source(looked, plan, folder, renamed, timezone=timezone)
    features = [renamed.get(name, name) for name in plan.features]
    times: dict[str, Any] = {"times": "landing"} if plan.event_time is None else {"event_time": plan.event_time}
    known = {"known_time": plan.known_time} if plan.known_time else {}
    entities = [name for name in plan.entities if name not in features]
    rows = {"input": "rows", "key": [key], "columns": [key, *entities, *features], **times}
    # A table of labels knows its label's time, where there is one.
    labels = {
        "input": "rows",
        "key": [key],
        "columns": [key, *plan.entities, plan.label],
        "present": [plan.label, *([plan.known_time] if plan.known_time else [])],
        **times,
        **known,
    }
    views = {f"{name}_history": {"entity": name, "values": history_of(name, plan)} for name in plan.entities}
    number = plan.task == "regression"
    return {
        "name": folder.name,
        "question": f"What is {plan.label}?" if plan.task != "binary" else f"Will {plan.label} be so?",
        "task": plan.task,
        "seed": 1,
        "source": {"inputs": {"rows": source}, "tables": {"rows": rows, "labels": labels}},
        "features": {
            "request": features,
            "text": [renamed.get(name, name) for name in plan.features if plan.kinds[name] == "text"],
            **({"views": views} if views else {}),
        },
        "prediction": {"id": key, "moment": "moment", "block": "none"},
        "label": {"table": "labels", "column": plan.label, **({"classes": list(plan.classes)} if plan.classes else {})},
        "training": {"split": "random"} if plan.event_time is None else {"holdout_ends": "newest"},
        "gate": {
            "metric": METRICS[plan.task],
            "minimum_blocks": LEAST_BLOCKS,
            **({} if number else {"margin": MARGIN}),
        },
    }


def history_of(entity: str, plan: Guess) -> list[str]:
    """Name the values of an entity's past: how many labels came in a month, and their mean where it is a number."""
    mean = [] if plan.classes else [f"{entity}_mean_30d"]
    return [f"{entity}_count_30d", *mean]


def _renamed(plan: Guess) -> dict[str, str]:
    """Give features whose names every snapshot takes another one."""
    return {name: f"{name}_value" for name in plan.features if name in TAKEN}


def _source(
    looked: Looked, plan: Guess, folder: Path, renamed: Mapping[str, str], *, timezone: str | None
) -> dict[str, Any]:
    taken = looked.source
    wanted = [n for n in (plan.key, plan.event_time, plan.known_time, *plan.entities, *plan.features, plan.label) if n]
    names = [look.name for look in looked.columns if look.name in wanted]
    there = {renamed.get(name, name): taken.there(name) for name in names}
    columns = {renamed.get(name, name): plan.kinds[name] for name in names}
    kept = taken.model_dump(mode="json", exclude_defaults=True, include={"path", "database", "table", "format", "csv"})
    if "path" in kept and "://" not in kept["path"] and not kept["path"].startswith(PACKAGE):
        kept["path"] = os.path.relpath(Path(kept["path"]).absolute(), folder.absolute())
    elif "database" in kept:
        kept["database"] = _without_password(kept["database"], folder)
    return {
        **kept,
        **({"timezone": timezone or LOCAL} if plan.naive else {}),
        "columns": columns,
        **_given("names", {name: own for name, own in there.items() if name != own}),
        **_given("formats", plan.forms),
        **_given("ignored", [look.there for look in looked.columns if look.name not in wanted]),
        **({} if plan.key else {"row_id": [name for name in columns if name not in (plan.label, plan.known_time)]}),
    }


def _given(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _without_password(database: str, folder: Path) -> str:
    """Take the password out of an address: it belongs to the environment, not to a file that is committed."""
    if "://" not in database:
        return os.path.relpath(Path(database).absolute(), folder.absolute())
    password = urlsplit(database).password
    return database.replace(f":{password}@", "@", 1) if password else database


def _shape(content: dict[str, Any], plan: Guess, tables: Mapping[str, pd.DataFrame], count: int) -> list[str]:
    """Fit the holdout, the gate and the watching to how many rows there are and how long they span."""
    rows, labels = tables["rows"], tables["labels"]
    if labels.empty or rows.empty:
        why = "every row is of the future" if rows.empty else f"{plan.label} is never there"
        raise EmptyWindow(what="no row has a label", why=why, fix="pass another --label or --event-time")
    content["training"]["minimum_rows"] = max(20, min(1_000, count // 4))
    content["drift"] = {"minimum_rows": max(50, min(1_000, count // 4))}
    if plan.task == "regression":
        spread = float(labels[plan.label].std())
        content["gate"]["margin"] = float(f"{MARGIN * spread:.2g}") if spread else MARGIN
    if plan.event_time is None:
        return [f"holdout: {0.25:.0%} of the rows, drawn by what they say and the same for ever"]
    span = rows[plan.event_time].max() - rows[plan.event_time].min()
    days = max(1, min(MOST_HOLDOUT_DAYS, round(span / timedelta(days=1) / 5)))
    block = (
        "day" if days >= LEAST_BLOCKS else "hour" if days * 24 >= LEAST_BLOCKS and span > timedelta(days=2) else "none"
    )
    content["training"]["holdout_days"] = days
    content["prediction"]["block"] = block
    came = labels[plan.known_time or "known_time"]
    waits = (came - labels[plan.event_time]).dt.total_seconds() / 3_600
    content["label"]["wait_hours"] = max(0.0, round(float(waits.quantile(0.99)), 1))
    if plan.naive:
        content["prediction"]["timezone"] = content["source"]["inputs"]["rows"]["timezone"]
    return [f"holdout: the newest {days} days, resampled by {block if block != 'none' else 'row'}"]


def _training_window(rows: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    """Leave the holdout's days out of what the data tests are derived from."""
    times = rows[spec.source.tables["rows"].event_time]
    window = rows[times < times.max() - timedelta(days=spec.training.holdout_days)]
    return rows if spec.training.split == "random" or window.empty else window


def _choose_trainer(content: dict[str, Any], spec: ModelSpec, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Try a linear model and boosted trees on a sample, and take the one that is better on a quarter of it."""
    from baton.flows.trainer_trial import trial

    small = len(tables["rows"]) < FEW_ROWS
    parameters = {
        "linear": {},
        "lightgbm": {"n_estimators": 100, "num_leaves": 7, "min_child_samples": 10, "learning_rate": 0.1}
        if small
        else {"n_estimators": 200, "num_leaves": 31, "min_child_samples": 50, "learning_rate": 0.05},
    }
    metric = spec.gate.metric
    found = {}
    for name, values in parameters.items():
        try:
            found[name] = trial(spec, tables, trainer=name, parameters=values, rows=TRIED_ROWS)
        except (TrainingFailed, EmptyWindow) as error:
            return [f"trainer lightgbm: too little to compare trainers on ({error.why})"]
    best = min(found, key=lambda name: found[name])
    content["training"] |= {"trainer": best, **({"parameters": parameters[best]} if parameters[best] else {})}
    scores = ", ".join(f"{name} {value:.4g}" for name, value in sorted(found.items(), key=lambda item: item[1]))
    return [f"trainer {best}: its {metric} on a quarter of the rows is the smaller ({scores})"]


def _write(folder: Path, spec: ModelSpec, content: Mapping[str, Any], plan: Guess) -> None:
    (folder / SPEC_FILE).write_text(model_text(content, plan), encoding="utf-8")
    (folder / "features.py").write_text(features_text(spec, plan), encoding="utf-8")
    (folder / "README.md").write_text(readme_text(spec, plan), encoding="utf-8")
    (folder / ".gitignore").write_text(".baton/\n__pycache__/\n", encoding="utf-8")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_project.py").write_text(test_text(spec), encoding="utf-8")
