"""Each wrong join of the flights is caught, and what it would have cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import DataRefused
from baton.features.asof_join import NOTHING, newest_known
from baton.features.leak import audit_join
from baton.features.source import Definitions

AS_OF = pd.Timestamp("2013-02-10T05:00Z")
MINUTE = pd.Timedelta(minutes=1)


@dataclass(frozen=True)
class Wrong:
    """Definitions with a mistake in their views."""

    right: Definitions
    mistake: Any

    def request(self, tables):
        return self.right.request(tables)

    def views(self, tables, *, as_of):
        return self.mistake(self.right, tables, as_of)


@pytest.fixture(scope="module")
def tables(known):
    return known(AS_OF)


def _join(spec, rows, views, *, at):
    """Look every view up at each row's moment `at`, right or wrong."""
    columns = {"id": rows["flight_id"], "moment": rows["prediction_time"]}
    columns |= {name: rows[name] for name in spec.features.request}
    asked = rows.assign(at=at)
    for name, view in spec.features.views.items():
        history = views[name]
        found = newest_known(asked, history, on=[view.entity], moment="at", event="event_timestamp", ttl=view.ttl)
        for value in view.values:  # noqa: PD011 - a field of the spec, not a frame
            values = history[value].to_numpy()[np.maximum(found, 0)]
            columns[value] = pd.Series(np.where(found == NOTHING, np.nan, values), index=rows.index)
    return pd.DataFrame(columns)


def _rows(definitions, tables, as_of):
    rows = definitions.request(tables)
    return rows[rows["prediction_time"] < as_of].reset_index(drop=True)


def _month_end(moments):
    local = moments.dt.tz_convert("America/New_York").dt.tz_localize(None)
    return (local.dt.to_period("M").dt.end_time + MINUTE).dt.floor("s").dt.tz_localize("America/New_York")


def test_the_right_join_passes(spec, definitions, tables):
    rows = _rows(definitions, tables, AS_OF)
    views = definitions.views(tables, as_of=AS_OF)
    assert audit_join(_join(spec, rows, views, at=rows["prediction_time"]), spec, tables, definitions) == 200


@pytest.mark.parametrize(
    "at",
    [lambda _: AS_OF, lambda moments: np.minimum(_month_end(moments).dt.tz_convert("UTC"), AS_OF)],
    ids=["the latest value for all rows", "the value at the end of the row's month"],
)
def test_a_join_at_a_later_moment_is_caught(spec, definitions, tables, at):
    rows = _rows(definitions, tables, AS_OF)
    views = definitions.views(tables, as_of=AS_OF)
    with pytest.raises(DataRefused, match=r"the join is wrong.* in \d+ rows"):
        audit_join(_join(spec, rows, views, at=at(rows["prediction_time"])), spec, tables, definitions)


def _own_day(right, tables, as_of):
    """A carrier's rate of a day, stamped at the midnight with which the day begins."""
    arrivals = tables["arrivals"]
    day = arrivals["known_time"].dt.floor("D").rename("event_timestamp")
    daily = arrivals.groupby(["carrier", day])["late"].mean().rename("carrier_arr15_7d").reset_index()
    return {**right.views(tables, as_of=as_of), "carrier_daily": daily}


def _known_at_departure(right, tables, as_of):
    """Every arrival counted from its scheduled departure on, hours before it landed."""
    departs = tables["schedule"].set_index("flight_id")["sched_dep"]
    arrivals = tables["arrivals"]
    return right.views(
        {**tables, "arrivals": arrivals.assign(known_time=arrivals["flight_id"].map(departs))}, as_of=as_of
    )


@pytest.mark.parametrize(
    ("mistake", "column"),
    [(_own_day, "carrier_arr15_7d"), (_known_at_departure, "dest_arr15_24h")],
    ids=["a day's aggregate stamped at its own midnight", "a label stamped at scheduled departure"],
)
def test_a_value_stamped_before_it_was_known_is_caught(spec, definitions, tables, mistake, column):
    wrong = Wrong(definitions, mistake)
    rows = _rows(wrong, tables, AS_OF)
    frame = _join(spec, rows, wrong.views(tables, as_of=AS_OF), at=rows["prediction_time"])
    with pytest.raises(DataRefused, match=column):
        audit_join(frame, spec, tables, wrong)


@pytest.mark.long
def test_the_latest_value_looks_better_offline_and_serves_worse(spec, definitions, known):
    """Train to March, test April: the wrong join reports what the service will not keep."""
    trained_at, tested_at = pd.Timestamp("2013-04-01T06:00Z"), pd.Timestamp("2013-05-01T06:00Z")
    tables = known(tested_at)
    rows = _rows(definitions, tables, tested_at)
    views = definitions.views(tables, as_of=tested_at)
    right = _join(spec, rows, views, at=rows["prediction_time"])
    then, now = (_join(spec, rows, views, at=moment) for moment in (trained_at, tested_at))
    label = rows["flight_id"].map(tables["arrivals"].set_index("flight_id")["late"])
    month = (rows["prediction_time"] + pd.Timedelta(hours=2)).dt.tz_convert("America/New_York").dt.month
    split = {"label": label, "train": (month <= 3) & label.notna(), "test": (month == 4) & label.notna()}

    # As of the prediction moment, the test and the service ask for the same values: one number.
    assert _auc(spec, right, right, **split) == pytest.approx(0.724, abs=0.01)
    # The latest value, whenever a table is built: better on paper, worse at work.
    assert _auc(spec, then, now, **split) == pytest.approx(0.79, abs=0.02)
    assert _auc(spec, then, right, **split) == pytest.approx(0.64, abs=0.02)


def _auc(spec, trained_on, tested_on, *, label, train, test):
    from lightgbm import LGBMClassifier
    from sklearn.metrics import roc_auc_score

    def numbers(frame):
        codes = {name: pd.factorize(frame[name], sort=True)[0] for name in spec.features.text}
        return frame[list(spec.features.names)].assign(**codes)

    model = LGBMClassifier(**spec.training.parameters, random_state=1, n_jobs=2, verbose=-1)
    model.fit(numbers(trained_on)[train], label[train])
    return roc_auc_score(label[test], model.predict_proba(numbers(tested_on)[test])[:, 1])
