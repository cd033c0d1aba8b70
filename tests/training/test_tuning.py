import logging

import pytest

from baton.core.errors import EmptyWindow, SpecInvalid, TrainingFailed
from baton.training.fit import fit
from baton.training.split import newest
from baton.training.tuning import tune

SPACE = {
    "num_leaves": {"low": 2, "high": 31, "log": True},
    "learning_rate": {"low": 0.01, "high": 0.5},
    "n_estimators": [5, 20],
}


def tuned(make_spec, frame, **tuning):
    parameters = tuning.pop("parameters", {"min_child_samples": 20})
    spec = make_spec(parameters=parameters, tuning={"trials": 6, "space": SPACE, **tuning})
    return spec, tune(spec, frame, threads=1)


def test_the_same_seed_finds_the_same_parameters(make_spec, frame):
    _, one = tuned(make_spec, frame)
    _, two = tuned(make_spec, frame)
    assert one.parameters == two.parameters
    assert [(t.parameters, t.value) for t in one.trials] == [(t.parameters, t.value) for t in two.trials]
    assert len(one.trials) == 6
    assert not one.cut


def test_the_best_trial_is_the_one_of_the_least_log_loss(make_spec, frame):
    spec, found = tuned(make_spec, frame)
    assert found.metric == "log_loss"
    assert found.value == min(trial.value for trial in found.trials)
    assert fit(spec, frame, threads=1, parameters=found.parameters).parameters["min_child_samples"] == 20


def test_a_metric_of_which_more_is_better_is_maximised(make_spec, frame):
    spec = make_spec(parameters={}, tuning={"trials": 4, "space": SPACE})
    spec = spec.model_copy(update={"gate": spec.gate.model_copy(update={"metric": "auc"})})
    found = tune(spec, frame, threads=1)
    assert found.value == max(trial.value for trial in found.trials)


def test_a_range_is_whole_where_both_ends_are_and_choices_are_taken_as_they_stand(make_spec, frame):
    _, found = tuned(make_spec, frame)
    for trial in found.trials:
        assert isinstance(trial.parameters["num_leaves"], int)
        assert isinstance(trial.parameters["learning_rate"], float)
        assert trial.parameters["n_estimators"] in {5, 20}


def test_the_declared_parameters_are_tried_first(make_spec, frame):
    declared = {"num_leaves": 7, "learning_rate": 0.1, "n_estimators": 20}
    _, found = tuned(make_spec, frame, parameters=declared)
    assert found.trials[0].parameters == declared


def test_trials_are_scored_on_the_newest_days_only(make_spec, frame):
    _, found = tuned(make_spec, frame, validation_share=0.3)
    parts = newest(frame, share=0.3, group=None, purpose="search")
    assert (found.rows, found.validation_rows) == (len(parts.older), len(parts.newest))


def test_time_ends_a_search_and_it_says_so(make_spec, frame):
    _, found = tuned(make_spec, frame, trials=10_000, seconds=0.5)
    assert found.cut
    assert 1 <= len(found.trials) < 10_000


def test_a_trial_that_fails_does_not_end_the_search(make_spec, frame):
    _, found = tuned(make_spec, frame, trials=8, space={"n_estimators": [5, -3]})
    failed = [trial for trial in found.trials if trial.value is None]
    assert failed
    assert "the fit on" in failed[0].failure
    assert found.parameters == {"n_estimators": 5}


def test_a_search_without_any_success_fails_with_the_first_reason(make_spec, frame):
    with pytest.raises(TrainingFailed, match=r"none of 2 trials could be scored: the first says: the fit on"):
        tuned(make_spec, frame, trials=2, space={"num_leaves": [-3]})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"num_leafs": {"low": 2, "high": 9}}, "did you mean 'num_leaves'"),
        ({"num_leaves": {"low": 9, "high": 2}}, "low 9 is above high 2"),
        ({"learning_rate": {"low": 0, "high": 1, "log": True}}, "a log range begins above 0"),
        ({"num_leaves": []}, "num_leaves has no choices"),
    ],
    ids=["unknown", "upside down", "log of nothing", "no choices"],
)
def test_a_space_that_cannot_be_searched_is_refused(make_spec, frame, space, message):
    with pytest.raises(SpecInvalid, match=message):
        tuned(make_spec, frame, space=space)


def test_a_project_without_a_search_has_none_to_run(make_spec, frame):
    with pytest.raises(SpecInvalid, match=r"no training\.tuning"):
        tune(make_spec(), frame, threads=1)


def test_rows_of_one_day_cannot_be_searched(make_spec, frame):
    with pytest.raises(EmptyWindow, match="the search for parameters"):
        tuned(make_spec, frame.head(80))


def test_a_search_is_quiet_and_leaves_the_log_as_it_was(make_spec, frame, capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    tuned(make_spec, frame, trials=2)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before == logging.INFO
