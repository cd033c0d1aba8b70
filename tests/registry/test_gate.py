"""What a challenger must show: boundaries, laws and error rates of the gate."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.core.errors import EmptyWindow, NotPromotable
from baton.core.policy import GateSpec
from baton.core.verdict import Check, Decision, Outcome, verdict_from_json
from baton.registry import bout as bout_module
from baton.registry.gate import decide
from baton.registry.paired import Gain

REPEATS = 400
# Three standard errors of a rate of 5 % over the repeats.
MONTE_CARLO = 3 * np.sqrt(0.05 * 0.95 / REPEATS)
NEVER = timedelta(microseconds=1)


def gain_of(mean, low, high):
    return Gain(mean=mean, low=low, high=high, standard_error=0.01, method="paired t")


def outcomes(verdict):
    return {check.name: check.outcome for check in verdict.checks}


@pytest.fixture(scope="module")
def judged(judge, month):
    return lambda challenger, champion, /, **changes: judge(month, challenger, champion, **changes)


BINARY = ["log_loss", "brier", "auc", "pr_auc", "macro_f1"]


@pytest.mark.parametrize("metric", BINARY)
@pytest.mark.parametrize("intent", ["refresh", "replace"])
def test_a_clearly_better_challenger_is_promoted(judged, month, better, metric, intent):
    bad = month.scores(noise=2.5, seed=2)
    assert judged(better, bad, gate=GateSpec(metric=metric, intent=intent)).promotes


@pytest.mark.parametrize("metric", BINARY)
@pytest.mark.parametrize("intent", ["refresh", "replace"])
def test_a_clearly_worse_challenger_is_held(judged, better, worse, metric, intent):
    assert judged(worse, better, gate=GateSpec(metric=metric, intent=intent)).decision is Decision.HOLD


@pytest.mark.parametrize("metric", BINARY)
@pytest.mark.parametrize("intent", ["refresh", "replace"])
def test_a_tie_keeps_the_champion(judged, better, metric, intent):
    """C13: equal is not better."""
    verdict = judged(better, better, gate=GateSpec(metric=metric, intent=intent))
    assert verdict.decision is Decision.HOLD
    assert outcomes(verdict)["better_on_average"] is Outcome.FAILED


def test_the_first_champion_has_to_beat_a_constant_with_proof(judged, better):
    """C12: without a champion the verdict is a bootstrap, and says so."""
    verdict = judged(better, None)
    assert verdict.promotes
    assert verdict.intent == "bootstrap"
    assert list(outcomes(verdict)) == ["holdout_pure", "rows_unseen", "enough_blocks", "beats_constant"]


def test_a_constant_is_no_first_champion(judged, month):
    """C12: the floor is absolute."""
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


@pytest.fixture
def gains(monkeypatch):
    """Let the gains be these: over the constant, then over the champion."""

    def give(*values):
        found = iter(values)
        monkeypatch.setattr(bout_module, "paired_gain", lambda *_, **__: next(found, values[-1]))

    return give


CLEAR = gain_of(0.1, 0.05, 0.2)


@pytest.mark.parametrize(("gate", "mean", "low", "high", "decision"), EDGES.values(), ids=EDGES.keys())
def test_boundaries(judged, better, gains, gate, mean, low, high, decision):  # noqa: PLR0917 - one name a column
    """C13, C14: less than the lift, equal, or not proven is not promoted."""
    gains(CLEAR, gain_of(mean, low, high))
    assert judged(better, better, gate=gate).decision is decision


BASELINE = {
    "low end above zero": (0.01, 1e-9, Decision.PROMOTE),
    "low end on zero": (0.01, 0.0, Decision.INCONCLUSIVE),
    "no gain": (0.0, -0.01, Decision.HOLD),
}


@pytest.mark.parametrize(("mean", "low", "decision"), BASELINE.values(), ids=BASELINE.keys())
def test_boundaries_of_the_constant(judged, better, gains, mean, low, decision):  # noqa: PLR0917
    gains(gain_of(mean, low, 0.2))
    assert judged(better, None).decision is decision


OTHERS = {
    "better than the rule": (0.01, 0.005, 0.02, Outcome.PASSED),
    "as good, for all that is known": (-0.01, -0.03, 0.0, Outcome.PASSED),
    "proven worse": (-0.01, -0.03, -1e-9, Outcome.FAILED),
}


@pytest.mark.parametrize(("mean", "low", "high", "outcome"), OTHERS.values(), ids=OTHERS.keys())
def test_boundaries_of_a_rule(judged, better, worse, gains, mean, low, high, outcome):  # noqa: PLR0917
    gains(CLEAR, gain_of(mean, low, high), CLEAR)
    verdict = judged(better, worse, baselines={"constant": 0.28, "rule": worse})
    assert outcomes(verdict)["not_worse_than_rule"] is outcome
    assert verdict.promotes == (outcome is Outcome.PASSED)


def test_a_challenger_that_a_simple_model_beats_is_no_first_champion(judged, better, worse):
    verdict = judged(worse, None, baselines={"constant": 0.28, "linear": better})
    assert verdict.decision is Decision.HOLD
    assert outcomes(verdict)["not_worse_than_linear"] is Outcome.FAILED


def test_rows_needed_grow_with_the_square_of_what_is_missing(judged, better, gains, month):
    gains(CLEAR, gain_of(0.002, -0.010, 0.014))
    verdict = judged(better, better, gate=GateSpec(margin=0.004))
    # Half a width of 0.012 must shrink to 0.006, which takes four times the rows.
    assert verdict.rows_needed == 4 * len(month.labels)


def test_a_holdout_that_began_before_the_training_ended_is_refused(judged, better, worse, month):
    at = {"holdout_start": judged(better, worse).judged_at}
    for late in ({"challenger_trained_until": at["holdout_start"]}, {"champion_trained_until": at["holdout_start"]}):
        verdict = judged(better, worse, **at, **late)
        assert verdict.decision is Decision.HOLD
        assert outcomes(verdict)["holdout_pure"] is Outcome.FAILED


def test_rows_that_were_trained_on_stop_the_judging_before_a_score_is_read(judged, month, better):
    """C16: these scores could not be read without an error."""
    unread = np.full(len(month.labels), np.nan)
    for counts in ({"challenger": 3, "champion": 0}, {"challenger": 0, "champion": 1}, {"challenger": 0}):
        verdict = judged(unread, better, shared_rows=counts)
        assert verdict.decision is Decision.HOLD
        assert list(outcomes(verdict)) == ["holdout_pure", "rows_unseen"]
    assert "nobody counted" in verdict.reason


def test_the_rows_that_were_trained_on_are_counted_by_model(judged, better, worse):
    """C16: the reason names model and number."""
    verdict = judged(better, worse, shared_rows={"challenger": 1_200, "champion": 0})
    assert verdict.reason == "challenger has trained on 1,200 rows of the holdout"


def test_a_champion_with_an_unknown_training_end_is_not_judged_against(judged, better, worse):
    assert judged(better, worse, champion_trained_until=None).decision is Decision.HOLD


def test_a_holdout_just_after_the_training_is_pure(judged, better, worse):
    start = judged(better, worse).judged_at
    verdict = judged(better, worse, holdout_start=start, challenger_trained_until=start - NEVER)
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


@pytest.mark.parametrize("metric", ["log_loss", "auc"])
@pytest.mark.parametrize("intent", ["replace", "refresh"])
def test_an_equal_model_is_seldom_promoted(judge, make_month, metric, intent):
    """C14: A/A, 400 times, on months of clustered days; refresh is held to a model that is worse by its margin.

    A refresh may promote an equal model, which is what its margin says. So its
    bound is on one that is worse by more: a margin of nothing makes that equal.
    """
    gate = GateSpec(intent=intent, metric=metric, margin=0.0, decisions=1)
    promoted = 0
    for repeat in range(REPEATS):
        month = make_month(seed=10_000 + repeat, rows=30)
        one, two = (month.scores(noise=0.5, shared=0.3, seed=2 * repeat + side) for side in (0, 1))
        promoted += judge(month, one, two, gate=gate).promotes
    assert promoted / REPEATS <= 0.05 + MONTE_CARLO


def test_thirty_retrainings_promote_noise_once_in_twenty_sequences(judge, make_month):
    """C14: 400 decisions at their share of the rate; even one would be more than is expected."""
    gate = GateSpec(intent="replace", decisions=30)
    promoted = 0
    for repeat in range(REPEATS):
        month = make_month(seed=20_000 + repeat, rows=30)
        one, two = (month.scores(noise=0.5, shared=0.3, seed=2 * repeat + side) for side in (0, 1))
        promoted += judge(month, one, two, gate=gate).promotes
    # Four or more of 400 at 1/600 each happen once in 200 times.
    assert promoted <= 3


def test_the_interval_is_that_of_one_of_all_decisions(judged, better, worse):
    widths = {}
    for decisions in (1, 30, 100):
        verdict = judged(better, worse, gate=GateSpec(decisions=decisions))
        assert verdict.alpha == pytest.approx(0.05 / decisions)
        check = next(check for check in verdict.checks if check.name == "not_worse")
        widths[decisions] = check.high - check.low
    assert widths[1] < widths[30] < widths[100]


def test_the_same_evidence_gives_the_same_bytes(judged, better, worse):
    one, two = judged(better, worse), judged(better, worse)
    assert one.to_json() == two.to_json()
    assert verdict_from_json(one.to_json()).to_json() == one.to_json()
    assert one.evidence != judged(better, worse, epoch=2).evidence
    assert one.method == "clustered paired t"


def test_a_zone_of_time_changes_no_byte(judged, better, worse, arguments_for, month):
    from zoneinfo import ZoneInfo

    start = judged(better, worse).judged_at
    for zone in (ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")):
        elsewhere = judged(better, worse, holdout_start=start.astimezone(zone), challenger_trained_until=start)
        here = judged(better, worse, holdout_start=start, challenger_trained_until=start)
        assert elsewhere.to_json() == here.to_json()


PASSED = Check(name="direction_weight", outcome=Outcome.PASSED, observed=1.0, required=0.9, detail="fine")
OUTCOMES = st.sampled_from(list(Outcome))


@given(st.lists(OUTCOMES, max_size=4), OUTCOMES)
@settings(deadline=None, max_examples=40)
def test_one_more_test_never_turns_a_refusal_into_a_promotion(judged, better, worse, made, more):
    tests = tuple(Check(name=f"t{i}", outcome=o, observed=None, required=None, detail="d") for i, o in enumerate(made))
    added = (*tests, Check(name="more", outcome=more, observed=None, required=None, detail="d"))
    before, after = (judged(better, worse, tests=each) for each in (tests, added))
    if more in {Outcome.FAILED, Outcome.UNDECIDED}:
        assert not after.promotes
    if not before.promotes:
        assert not after.promotes


def test_the_checks_of_others_are_part_of_the_verdict(judged, better, worse):
    verdict = judged(better, worse, tests=(PASSED,))
    assert PASSED in verdict.checks
    assert verdict.promotes
    assert verdict.reason.startswith("log loss gain over the champion")


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_two_models_cannot_both_be_proven_better(arguments_for, make_month, seed):
    month = make_month(seed=seed, days=15, rows=20)
    one, two = month.scores(noise=0.2, seed=seed), month.scores(noise=0.9, seed=seed + 1)
    gate = GateSpec(intent="replace", decisions=1)
    sides = [decide(arguments_for(month, *pair, gate=gate)) for pair in ((one, two), (two, one))]
    assert not (sides[0].promotes and sides[1].promotes)
    gains = [next(c.observed for c in v.checks if c.name == "better_on_average") for v in sides]
    assert gains[0] == pytest.approx(-gains[1], abs=1e-9)


def test_every_check_says_what_it_found(judged, better, worse):
    for verdict in (judged(better, worse), judged(worse, better), judged(better, None)):
        assert all(check.detail and "\n" not in check.detail for check in verdict.checks)
        assert all(check.required is not None for check in verdict.checks)


def spoiled(values, value):
    changed = values.copy()
    changed[3] = value
    return changed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0001, -0.1])
@pytest.mark.parametrize("side", ["challenger", "champion"])
def test_a_score_that_is_no_probability_is_named(judged, better, worse, value, side):
    """C13: NaN never compares as better."""
    bad = spoiled(better, value)
    with pytest.raises(NotPromotable, match=f"1 of 2800 {side} scores are no probabilities"):
        judged(better, worse, **{f"{side}_scores": bad})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_a_baseline_that_is_no_probability_is_named(judged, better, worse, value):
    with pytest.raises(NotPromotable, match="baseline constant"):
        judged(better, worse, baselines={"constant": value})
    with pytest.raises(NotPromotable, match="1 of 2800 baseline rule scores are no probabilities"):
        judged(better, worse, baselines={"constant": 0.28, "rule": spoiled(better, value)})


def test_a_missing_baseline_is_named(judged, better, worse):
    with pytest.raises(NotPromotable, match="the constant baseline is missing"):
        judged(better, worse, baselines={"rule": worse})


def test_a_metric_that_the_task_does_not_have_is_named(judged, better, worse):
    """C13: missing metric."""
    with pytest.raises(NotPromotable, match="rmse is no metric of binary"):
        judged(better, worse, gate=GateSpec(metric="rmse"))


def test_scores_of_another_data_set_are_named(judged, better, worse):
    """C13: metric of another data set."""
    with pytest.raises(NotPromotable, match="scores of champion are of another data set"):
        judged(better, worse, scored_on={"challenger": "d" * 64, "champion": "e" * 64})
    assert judged(better, worse, scored_on={"challenger": "d" * 64}).promotes


def test_a_metric_that_is_no_number_is_named(judged, better, worse, monkeypatch):
    """C13: NaN metric."""
    monkeypatch.setattr(bout_module, "paired_gain", lambda *_, **__: gain_of(np.nan, np.nan, np.nan))
    with pytest.raises(NotPromotable, match="log_loss of challenger and constant cannot be compared"):
        judged(better, worse)


def test_a_test_without_a_number_is_named(judged, better, worse):
    broken = Check(name="latency", outcome=Outcome.PASSED, observed=np.nan, required=1.0)
    with pytest.raises(NotPromotable, match="the test latency has no number"):
        judged(better, worse, tests=(broken,))


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
    given_rows = {"challenger_scores": better, "champion_scores": worse, "blocks": month.blocks}[name]
    with pytest.raises(NotPromotable, match="not of the same rows"):
        judged(better, worse, **{name: given_rows[:-1]})


def test_a_champion_without_scores_is_refused(judged, better, worse):
    with pytest.raises(NotPromotable, match="do not come together"):
        judged(better, worse, champion_scores=None)
    with pytest.raises(NotPromotable, match="do not come together"):
        judged(better, worse, champion=None)


def three_classes(month, noise, seed):
    """Give labels of three classes and scores that know them up to noise."""
    generator = np.random.default_rng(seed)
    labels = np.random.default_rng(9).integers(0, 3, len(month.labels)).astype(float)
    odds = np.exp(np.eye(3)[labels.astype(int)] * 1.5 + noise * generator.normal(size=(len(labels), 3)))
    return labels, odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", ["log_loss", "brier", "auc", "macro_f1"])
def test_models_of_several_classes_are_judged(judged, month, metric):
    labels, one = three_classes(month, 0.5, seed=1)
    _, two = three_classes(month, 2.0, seed=2)
    facts = {"task": "multiclass", "labels": labels, "baselines": {"constant": np.full(3, 1 / 3), "rule": two}}
    gate = GateSpec(metric=metric, intent="replace")
    assert judged(one, two, gate=gate, **facts).promotes
    assert judged(two, one, gate=gate, **facts).decision is Decision.HOLD


@pytest.mark.parametrize("metric", ["rmse", "mae", "pinball"])
def test_models_of_a_number_are_judged(judged, month, metric):
    generator = np.random.default_rng(3)
    labels = generator.normal(size=len(month.labels))
    one, two = (labels + noise * generator.normal(size=len(labels)) for noise in (0.3, 0.6))
    facts = {"task": "regression", "labels": labels, "baselines": {"constant": 0.0}}
    gate = GateSpec(metric=metric, intent="replace", quantile=0.5)
    assert judged(one, two, gate=gate, **facts).promotes
    assert judged(two, one, gate=gate, **facts).decision is Decision.HOLD


def test_chances_that_do_not_sum_to_one_are_named(judged, month):
    labels, one = three_classes(month, 0.5, seed=1)
    with pytest.raises(NotPromotable, match="2800 of 2800 challenger scores are no probabilities"):
        judged(one / 2, one, task="multiclass", labels=labels, baselines={"constant": np.full(3, 1 / 3)})


def test_on_drawn_rows_the_verdict_says_what_it_does_not_promise(judged, better, worse):
    verdict = judged(better, worse, holdout_start=None)
    note = next(check for check in verdict.checks if check.name == "holdout_pure")
    assert note.outcome is Outcome.NOTED
    assert "rows have no time: nothing is promised of how the model ages" in note.detail
    assert verdict.promotes
