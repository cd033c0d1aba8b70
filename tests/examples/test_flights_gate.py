"""The gate on the flights of 2013: it keeps what retraining gains, and lets no bad challenger through.

Real fits and the project's own policy, monthly, April to December. Each
challenger is trained on labels that were known two weeks before its day and
judged on those two weeks; what is promoted is its refit on all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from baton.compose import platform
from baton.core.verdict import Decision, Outcome, Verdict
from baton.features import snapshot
from baton.flows import landing_run
from baton.flows.challenge import freeze, vary
from baton.registry.arguments import Arguments
from baton.registry.gate import decide
from baton.training.fit import Fitted, fit, predict
from baton.training.losses import log_losses
from baton.training.split import known, split

ZONE = ZoneInfo("America/New_York")
STARTS = [datetime(2013, month, 1, tzinfo=ZONE) for month in range(4, 13)]
ENDS = [*STARTS[1:], datetime(2014, 1, 1, tzinfo=ZONE)]
CARRIERS = 8

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Champion:
    """The model in force, its refit on all rows and the twin that was judged."""

    since: datetime
    refit: Fitted
    twin: Fitted


@pytest.fixture(scope="module")
def rows(spec, tmp_path_factory) -> pd.DataFrame:
    """Freeze the year through the real landing zone and Feast."""
    baton = platform(spec.folder, home=tmp_path_factory.mktemp("year"))
    as_of = ENDS[-1] + timedelta(days=2)
    landing_run.land(baton, landing_run.read(baton), as_of=as_of)
    return snapshot.frame(freeze(baton, as_of=as_of))


@pytest.fixture(scope="module")
def models(spec, rows) -> dict[datetime, Champion]:
    """Give what a retraining on each first of the month trains."""
    return {
        start: Champion(
            since=start,
            refit=fit(spec, known(rows, spec, as_of=start), threads=1),
            twin=fit(spec, split(rows, spec, as_of=start).train, threads=1),
        )
        for start in STARTS
    }


@pytest.fixture(scope="module")
def judge(spec, rows):
    """Judge scores on the two weeks before a day against the champion of that day, as the loop does."""

    def on(start, scores, champion: Champion, *, trained_until, intent="refresh") -> Verdict:
        parts = split(rows, spec, as_of=start)
        # A refit that has seen part of the holdout steps back for its twin.
        old_enough = champion.since <= parts.holdout_start - timedelta(days=spec.training.holdout_days)
        rival = champion.refit if old_enough else champion.twin
        holdout = parts.holdout
        largest = holdout["carrier"].value_counts().index[:CARRIERS]
        gate = spec.gate.model_copy(update={"intent": intent})
        return decide(
            Arguments(
                gate=gate,
                slicing=spec.tests.slices,
                model=spec.name,
                labels=holdout["label"].to_numpy(np.float64),
                blocks=holdout["block"].to_numpy(),
                challenger="c" * 64,
                challenger_scores=scores(holdout),
                champion=rival.digest,
                champion_scores=predict(rival, holdout),
                baselines={"constant": float(parts.train["label"].mean())},
                slices={f"carrier={name}": (holdout["carrier"] == name).to_numpy() for name in largest},
                epoch=1,
                holdout="d" * 64,
                holdout_start=parts.holdout_start,
                challenger_trained_until=trained_until,
                champion_trained_until=rival.trained_until,
                shared_rows={"challenger": 0, "champion": 0},
                now=start,
            )
        )

    return on


@pytest.fixture(scope="module")
def history(judge, models) -> list[tuple[Champion, Verdict | None]]:
    """Give each month's champion in force with the verdict on that day's challenger."""
    champion = models[STARTS[0]]
    told: list[tuple[Champion, Verdict | None]] = [(champion, None)]
    for start in STARTS[1:]:
        twin = models[start].twin
        verdict = judge(
            start, lambda frame, twin=twin: predict(twin, frame), champion, trained_until=twin.trained_until
        )
        champion = models[start] if verdict.promotes else champion
        told.append((champion, verdict))
    return told


@pytest.fixture(scope="module")
def champions(history) -> list[tuple[datetime, Champion]]:
    """Give each day of retraining with the champion that its challenger met."""
    return [(start, history[place][0]) for place, start in enumerate(STARTS[1:])]


def mean_loss(chain, rows) -> float:
    losses = []
    for start, end, champion in zip(STARTS, ENDS, chain, strict=True):
        month = rows[(rows["moment"] >= start) & (rows["moment"] < end)]
        losses.append(log_losses(month["label"].to_numpy(np.float64), predict(champion.refit, month)).mean())
    return float(np.mean(losses))


def test_four_fifths_of_what_ungated_retraining_gains_are_kept(history, models, rows):
    never = mean_loss([models[STARTS[0]]] * len(STARTS), rows)
    always = mean_loss([models[start] for start in STARTS], rows)
    gated = mean_loss([champion for champion, _ in history], rows)
    assert never - always > 0.003
    assert never - gated >= 0.8 * (never - always)


def test_november_is_refused(history):
    """C13: its challenger is ahead by less than a release is worth, and then loses."""
    verdict = history[STARTS.index(datetime(2013, 11, 1, tzinfo=ZONE))][1]
    assert verdict.decision is Decision.HOLD
    assert {check.name: check.outcome for check in verdict.checks}["better_on_average"] is Outcome.FAILED


def test_good_refreshes_are_let_through(history):
    promoted = [verdict.promotes for _, verdict in history if verdict]
    assert 3 <= sum(promoted) <= 6
    assert promoted[0], "May's is worth more than all others"


def test_shuffled_labels_are_refused(judge, champions, spec, rows):
    for start, champion in champions[::3]:
        train = split(rows, spec, as_of=start).train
        shuffled = train.assign(label=np.random.default_rng(0).permutation(train["label"].to_numpy()))
        model = fit(spec, shuffled, threads=1)
        verdict = judge(
            start, lambda frame, model=model: predict(model, frame), champion, trained_until=model.trained_until
        )
        assert verdict.decision is Decision.HOLD


@pytest.fixture(scope="module")
def short(judge, champions, spec, rows):
    """Judge models with a short memory as what they are: another recipe, to be proven better."""

    def of(days: int, moments) -> list[Verdict]:
        varied = vary(spec, {"training": {"window_days": days}})
        verdicts = []
        for start, champion in moments:
            model = fit(varied, split(rows, varied, as_of=start).train, threads=1)
            verdicts.append(
                judge(
                    start,
                    lambda frame, model=model: predict(model, frame),
                    champion,
                    trained_until=model.trained_until,
                    intent="replace",
                )
            )
        return verdicts

    return of


def test_a_week_of_memory_is_refused(short, champions):
    assert not [verdict for verdict in short(7, champions) if verdict.promotes]


def test_a_month_of_memory_is_refused_in_most_months(short, champions):
    verdicts = short(30, champions)
    assert sum(verdict.promotes for verdict in verdicts) <= len(verdicts) // 4


@pytest.mark.parametrize(
    "bend",
    [np.sqrt, lambda chance: chance**2 / (chance**2 + (1 - chance) ** 2)],
    ids=["too high", "too sure"],
)
def test_a_model_that_ranks_as_well_and_is_not_calibrated_is_refused(judge, champions, models, bend):
    for start, champion in champions:
        twin = models[start].twin
        verdict = judge(
            start, lambda frame, twin=twin: bend(predict(twin, frame)), champion, trained_until=twin.trained_until
        )
        assert not verdict.promotes
