from datetime import timedelta

import numpy as np
import pytest

from baton.core.errors import EmptyWindow, NotPromotable
from baton.core.spec import GateSpec
from baton.core.verdict import Decision, Outcome, verdict_from_json
from baton.registry import gate as gate_module
from baton.registry.paired import Gain

REPEATS = 1_000
# Two standard errors of a rate of 5 % over the repeats.
MONTE_CARLO = 2 * np.sqrt(0.05 * 0.95 / REPEATS)


def outcomes(verdict):
    return {check.name: check.outcome for check in verdict.checks}


@pytest.fixture
def judged(judge, month):
    return lambda challenger, champion, /, **changes: judge(month, challenger, champion, **changes)


@pytest.mark.parametrize("metric", ["log_loss", "brier", "auc"])
@pytest.mark.parametrize("intent", ["refresh", "replace"])
def test_a_clearly_better_challenger_is_promoted(judged, better, worse, metric, intent):
    assert judged(better, worse, gate=GateSpec(metric=metric, intent=intent)).promotes


@pytest.mark.parametrize("metric", ["log_loss", "brier", "auc"])
@pytest.mark.parametrize("intent", ["refresh", "replace"])
def test_a_clearly_worse_challenger_is_held(judged, better, worse, metric, intent):
    assert judged(worse, better, gate=GateSpec(metric=metric, intent=intent)).decision is Decision.HOLD


@pytest.mark.parametrize("metric", ["log_loss", "brier", "auc"])
@pytest.mark.parametrize("intent", ["refresh", "replace"])
def test_a_tie_keeps_the_champion(judged, better, metric, intent):
    verdict = judged(better, better, gate=GateSpec(metric=metric, intent=intent))
    assert verdict.decision is Decision.HOLD
    assert outcomes(verdict)["better_on_average"] is Outcome.FAILED


def test_the_first_champion_only_has_to_beat_a_constant(judged, better):
    verdict = judged(better, None)
    assert verdict.promotes
    assert verdict.intent == "bootstrap"
    assert list(outcomes(verdict)) == ["holdout_pure", "enough_blocks", "beats_constant"]


def test_a_constant_is_no_first_champion(judged, month):
    assert judged(np.full(len(month.labels), 0.28), None).decision is Decision.HOLD


REFRESH = GateSpec(intent="refresh", margin=0.005)
REPLACE = GateSpec(intent="replace", min_lift=0.002)
EDGES = {
    "refresh: better, and the low end on the margin": (REFRESH, 0.003, -0.005, 0.011, Decision.PROMOTE),
    "refresh: better, but the low end below the margin": (REFRESH, 0.003, -0.005001, 0.011, Decision.INCONCLUSIVE),
    "refresh: no gain": (REFRESH, 0.0, -0.001, 0.001, Decision.HOLD),
    "refresh: the smallest gain": (REFRESH, 1e-9, -0.001, 0.001, Decision.PROMOTE),
    "refresh: worse within the margin": (REFRESH, -0.001, -0.004, 0.002, Decision.HOLD),
    "refresh: proven worse than the margin": (REFRESH, -0.02, -0.03, -0.01, Decision.HOLD),
    "replace: the gain and its low end above the lift": (REPLACE, 0.01, 0.002001, 0.02, Decision.PROMOTE),
    "replace: the low end on the lift": (REPLACE, 0.01, 0.002, 0.02, Decision.INCONCLUSIVE),
    "replace: the gain on the lift, not proven": (REPLACE, 0.002, -0.01, 0.01, Decision.INCONCLUSIVE),
    "replace: a gain below the lift": (REPLACE, 0.001999, 0.001, 0.003, Decision.HOLD),
}


@pytest.mark.parametrize(("gate", "mean", "low", "high", "decision"), EDGES.values(), ids=EDGES.keys())
def test_boundaries(judged, better, monkeypatch, gate, mean, low, high, decision):  # noqa: PLR0917 - one name a column
    gains = iter([Gain(mean=0.1, low=0.05, high=0.2, standard_error=0.01)])
    champion = Gain(mean=mean, low=low, high=high, standard_error=0.01)
    monkeypatch.setattr(gate_module, "paired_gain", lambda *_, **__: next(gains, champion))
    assert judged(better, better, gate=gate).decision is decision


BASELINE = {
    "low end above zero": (0.01, 1e-9, Decision.PROMOTE),
    "low end on zero": (0.01, 0.0, Decision.INCONCLUSIVE),
    "no gain": (0.0, -0.01, Decision.HOLD),
}


@pytest.mark.parametrize(("mean", "low", "decision"), BASELINE.values(), ids=BASELINE.keys())
def test_boundaries_of_the_baseline(judged, better, monkeypatch, mean, low, decision):  # noqa: PLR0917
    gain = Gain(mean=mean, low=low, high=0.2, standard_error=0.01)
    monkeypatch.setattr(gate_module, "paired_gain", lambda *_, **__: gain)
    assert judged(better, None).decision is decision


def test_rows_needed_grow_with_the_square_of_what_is_missing(judged, better, monkeypatch, month):
    gains = iter([Gain(mean=0.1, low=0.05, high=0.2, standard_error=0.01)])
    champion = Gain(mean=0.002, low=-0.010, high=0.014, standard_error=0.01)
    monkeypatch.setattr(gate_module, "paired_gain", lambda *_, **__: next(gains, champion))
    verdict = judged(better, better, gate=GateSpec(margin=0.004))
    # Half a width of 0.012 must shrink to 0.006, which takes four times the rows.
    assert verdict.rows_needed == 4 * len(month.labels)


def test_a_holdout_that_began_before_the_training_ended_is_refused(judged, better, worse, month):
    at = {"holdout_start": judged(better, worse).judged_at}
    for late in ({"challenger_trained_until": at["holdout_start"]}, {"champion_trained_until": at["holdout_start"]}):
        verdict = judged(better, worse, **at, **late)
        assert verdict.decision is Decision.HOLD
        assert outcomes(verdict)["holdout_pure"] is Outcome.FAILED


def test_a_champion_with_an_unknown_training_end_is_not_judged_against(judged, better, worse):
    assert judged(better, worse, champion_trained_until=None).decision is Decision.HOLD


def test_a_holdout_just_after_the_training_is_pure(judged, better, worse):
    start = judged(better, worse).judged_at
    verdict = judged(better, worse, holdout_start=start, challenger_trained_until=start - timedelta(microseconds=1))
    assert outcomes(verdict)["holdout_pure"] is Outcome.PASSED


def test_few_days_decide_nothing_however_many_rows_they_have(judge, make_month):
    week = make_month(seed=2, days=7, rows=1_000)
    verdict = judge(week, week.scores(noise=0.1, seed=1), week.scores(noise=1.5, seed=2))
    assert verdict.decision is Decision.INCONCLUSIVE
    assert outcomes(verdict)["enough_blocks"] is Outcome.UNDECIDED
    assert verdict.rows_needed == 14_000


def test_an_auc_gate_still_asks_for_probabilities(judged, better):
    verdict = judged(better**0.1, better, gate=GateSpec(metric="auc"))
    assert outcomes(verdict)["beats_constant"] is Outcome.FAILED


def test_a_miscalibrated_challenger_is_refused(judged, better, worse):
    assert not judged(np.sqrt(better), better).promotes
    assert not judged(np.sqrt(better), worse).promotes


def test_a_challenger_of_shuffled_labels_is_refused(judged, better, month):
    shuffled = np.random.default_rng(5).permutation(better)
    assert judged(shuffled, better).decision is Decision.HOLD
    assert judged(shuffled, None).decision is Decision.HOLD


def test_an_equal_model_is_seldom_called_better(judge, make_month):
    """A/A under `replace`: two models that err alike, by row and by day, on months of clustered days."""
    gate = GateSpec(intent="replace", resamples=400)
    promoted = 0
    for repeat in range(REPEATS):
        month = make_month(seed=10_000 + repeat, rows=30)
        one, two = (month.scores(noise=0.5, shared=0.3, seed=2 * repeat + side) for side in (0, 1))
        promoted += judge(month, one, two, gate=gate, seed=repeat).promotes
    assert promoted / REPEATS <= 0.05 + MONTE_CARLO


def test_the_same_evidence_gives_the_same_bytes(judged, better, worse):
    one, two = judged(better, worse), judged(better, worse)
    assert one.to_json() == two.to_json()
    assert verdict_from_json(one.to_json()).to_json() == one.to_json()
    assert judged(better, worse, seed=4).id != one.id


def test_every_check_says_what_it_found(judged, better, worse):
    for verdict in (judged(better, worse), judged(worse, better), judged(better, None)):
        assert all(check.detail and "\n" not in check.detail for check in verdict.checks)
        assert all(check.required is not None for check in verdict.checks)


def spoiled(values, value):
    changed = values.copy()
    changed[3] = value
    return changed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0001, -0.1])
@pytest.mark.parametrize("side", ["challenger", "champion", "baseline"])
def test_a_score_that_is_no_probability_is_named(judged, better, worse, value, side):
    bad = spoiled(better, value)
    with pytest.raises(NotPromotable, match=f"1 of 2800 {side} scores are no probabilities"):
        judged(better, worse, **{f"{side}_scores": bad})


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (np.zeros(2_800), NotPromotable),
        (np.ones(2_800), NotPromotable),
        (np.full(2_800, np.nan), NotPromotable),
        (np.arange(2_800), NotPromotable),
        (np.zeros(0), EmptyWindow),
        (np.zeros((2, 1_400)), EmptyWindow),
    ],
    ids=["all negative", "all positive", "unknown", "not binary", "none", "a table"],
)
def test_labels_that_cannot_tell_are_refused(judged, better, worse, labels, error):
    with pytest.raises(error):
        judged(better, worse, labels=labels)


@pytest.mark.parametrize("name", ["challenger_scores", "champion_scores", "blocks"])
def test_rows_that_do_not_match_are_refused(judged, better, worse, month, name):
    given = {"challenger_scores": better, "champion_scores": worse, "blocks": month.blocks}[name]
    with pytest.raises(NotPromotable, match="not of the same rows"):
        judged(better, worse, **{name: given[:-1]})


def test_a_champion_without_scores_is_refused(judged, better, worse):
    with pytest.raises(NotPromotable, match="do not come together"):
        judged(better, worse, champion_scores=None)
    with pytest.raises(NotPromotable, match="do not come together"):
        judged(better, worse, champion=None)
