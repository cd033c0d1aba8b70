"""The files of a begun project as text: every line is there to be read and edited by its owner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from baton.core.spec import ModelSpec
from baton.features.guess import Guess

WIDTH = 110
TIMELESS = """\
# ROWS HAVE NO TIME. Promises about time are off: the holdout is drawn by row (training.split), a leak from the
# future would not show, and nothing is said of how the model ages. Name an event_time to switch them on.
"""
LEFT_TO_SAY = "# Begun from a look at the data, for these reasons:\n"
HEAD = '''"""What the model sees: one definition, used for training, for serving and in tests.

To compute a feature, add a column to what `request` gives and its name to features.request in model.yaml:

    rows["size"] = rows["width"] * rows["height"]

Only what is known at a row's own moment may be used: training refuses a feature that looks ahead.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
'''
REQUEST = '''

def request(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Give one row per thing to predict, as it was first known: a later correction did not reach the prediction."""
    rows = tables["rows"].drop_duplicates({key}, keep="first")
    # Nothing can be predicted of a row before it is there.
    return rows.assign(moment=rows[[{event}, "known_time"]].max(axis=1))
'''
NO_VIEWS = '''

def views(tables: Mapping[str, pd.DataFrame], *, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Give what is looked up by entity; nothing here."""
    return {}
'''
VIEWS = '''

def views(tables: Mapping[str, pd.DataFrame], *, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Give each entity's last month of labels, whenever one becomes known."""
    labels = tables["labels"].rename(columns={LABEL_KNOWN: "event_timestamp"})
    labels = labels[labels["event_timestamp"] < as_of]
    return {entity: history(labels, entity.removesuffix("_history")) for entity in VIEWS}


def history(labels: pd.DataFrame, entity: str) -> pd.DataFrame:
    """Count and average an entity's labels of a month, as known at each moment at which one came."""
    known = labels[labels[entity].notna()]
    at = known[[entity, "event_timestamp"]].drop_duplicates().reset_index(drop=True)
    values = trailing(known.assign(value=VALUE), entity=entity, time="event_timestamp", value="value")
    where = {"entity": entity, "time": "event_timestamp", "window": MONTH}
    at[f"{entity}_count_30d"] = values.count(at, **where)
MEAN    return at
'''
TESTS = '''"""The project holds together: its file, its source and its features."""

from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pytest

from baton.core.spec import ModelSpec, load_spec
from baton.features.sample import sample_tables
from baton.features.source import load_definitions

PROJECT = Path(__file__).parents[1]
Tables = dict[str, pd.DataFrame]
NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec(PROJECT)


@pytest.fixture(scope="module")
def tables(spec: ModelSpec) -> Tables:
    return sample_tables(spec, as_of=NOW, rows=2_000)


def test_every_row_to_predict_has_an_id_of_its_own_and_all_features(spec: ModelSpec, tables: Tables) -> None:
    rows = load_definitions(spec).request(tables)
    assert len(rows)
    assert rows[spec.prediction.id].is_unique
    assert not set(spec.features.request) - set(rows.columns)


def test_what_comes_later_changes_no_feature_of_before(spec: ModelSpec, tables: Tables) -> None:
    times = {name: table.known_time for name, table in spec.source.tables.items()}
    known = {name: table.sort_values(times[name], kind="stable") for name, table in tables.items()}
    half = {name: table.head(len(table) // 2) for name, table in known.items()}
    before = load_definitions(spec).request(half).set_index(spec.prediction.id)
    after = load_definitions(spec).request(known).set_index(spec.prediction.id).loc[before.index]
    for name in spec.features.request:
        assert before[name].fillna("").tolist() == after[name].fillna("").tolist()


def test_every_declared_data_test_has_a_column_to_test(spec: ModelSpec, tables: Tables) -> None:
    for name, table in spec.source.tables.items():
        assert table.expectations
        for expectation in table.expectations:
            column = expectation.arguments.get("column")
            assert column is None or column in tables[name].columns
'''


def model_text(content: Mapping[str, Any], plan: Guess) -> str:
    """Write model.yaml, under the reasons for what it says."""
    said = LEFT_TO_SAY + "".join(f"# - {reason}\n" for reason in plan.reasons)
    timeless = TIMELESS if plan.event_time is None else ""
    body = yaml.dump(_flow(content), sort_keys=False, allow_unicode=True, width=WIDTH, Dumper=_Dumper)
    return said + timeless + body


def features_text(spec: ModelSpec, plan: Guess) -> str:
    """Write features.py; with entities, their recent labels are the example of a feature that is looked up."""
    table = spec.source.tables["rows"]
    head, views = HEAD, NO_VIEWS
    if spec.features.views:
        value = "1.0" if plan.classes else f"known[{json.dumps(plan.label)}]"
        mean = "" if plan.classes else '    at[f"{entity}_mean_30d"] = values.mean(at, **where)\n'
        views = (
            VIEWS.replace("VIEWS", f"({', '.join(map(json.dumps, spec.features.views))},)")
            .replace("VALUE", value)
            .replace("MEAN", mean)
        )
        views = views.replace("LABEL_KNOWN", json.dumps(spec.source.tables["labels"].known_time))
        head += "\nfrom baton.features.trailing import trailing\n\nMONTH = pd.Timedelta(days=30)\n"
    return head + REQUEST.format(key=json.dumps(table.key[0]), event=json.dumps(table.event_time)) + views


def readme_text(spec: ModelSpec, plan: Guess) -> str:
    """Write the project's README: what it is, and the next commands."""
    reasons = "\n".join(f"- {reason}" for reason in plan.reasons)
    return (
        f"# {spec.name}\n\n{spec.question} A {spec.task} model, begun from a look at the data:\n\n{reasons}\n\n"
        "## Next\n\n```sh\nbaton ingest      # read what is new, test it, set bad rows aside\n"
        "baton train       # train, judge, and promote if the verdict says so\n"
        "baton why         # every check behind the champion\nbaton serve       # answer on loopback\n"
        "pytest tests      # the project's own tests\n```\n\n"
        "`model.yaml` says everything, with the data tests that the rows suggested; correct what is wrong there.\n"
        "`features.py` is where features are computed.\n"
    )


def test_text(spec: ModelSpec) -> str:
    """Write the project's own tests."""
    return TESTS.replace("The project holds", f"The project {spec.name} holds")


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, and writes short mappings on one line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - PyYAML's own
        return super().increase_indent(flow, indentless=False)


class _Short(dict[str, Any]):
    """A mapping that is written on one line."""


def _represent_short(dumper: yaml.SafeDumper, value: _Short) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=True)


_Dumper.add_representer(_Short, _represent_short)


def _flow(value: Any, depth: int = 0) -> Any:
    """Mark what reads better on one line: expectations, and lists of names."""
    if isinstance(value, Mapping):
        return {key: _flow(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [_Short(item) for item in value]
    return value
