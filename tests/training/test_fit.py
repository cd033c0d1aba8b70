import json
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from baton.core.errors import SourceMissing, SpecInvalid, TrainingFailed
from baton.training.fit import fit, predict, with_parameters
from baton.training.split import split
from baton.training.trainer import BUILT_IN

# Small, so that a fit takes a moment.
SMALL = {
    "boosting": {"max_iter": 5},
    "forest": {"n_estimators": 20},
    "lightgbm": {"n_estimators": 30},
    "mlp": {"epochs": 5},
    "xgboost": {"n_estimators": 30},
}
FIT_ELSEWHERE = """
import importlib.util, json, sys
place = importlib.util.spec_from_file_location("conftest", sys.argv[1])
made = importlib.util.module_from_spec(place); place.loader.exec_module(made)
from baton.training.fit import fit
frame = made.make_frame()
for trainer, parameters in json.loads(sys.argv[2]).items():
    spec = made.make_spec(trainer=trainer, parameters=parameters)
    print(trainer, fit(spec, frame, threads=int(sys.argv[3])).digest)
"""


PLAIN = sorted(set(BUILT_IN) - {"mlp"})
NO_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.fixture(params=[*PLAIN, pytest.param("mlp", marks=[pytest.mark.torch, NO_TORCH])])
def any_spec(request, make_spec):
    return make_spec(trainer=request.param, parameters=SMALL.get(request.param, {}))


def test_scores_are_probabilities_that_rank_better_than_chance(any_spec, frame, as_of):
    from baton.training.losses import auc

    parts = split(frame, any_spec, as_of=as_of)
    fitted = fit(any_spec, parts.train, threads=1)
    scores = predict(fitted, parts.holdout)
    assert scores.shape == (len(parts.holdout),)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert auc(parts.holdout["label"].to_numpy(), scores) > 0.65


def test_a_model_says_what_it_was_trained_on(any_spec, frame):
    fitted = fit(any_spec, frame, threads=1)
    assert fitted.rows == len(frame)
    assert fitted.trained_until == frame["label_known"].max()
    assert fitted.trained_from == frame["moment"].min()
    assert fitted.trained_until.tzinfo is not None
    assert fitted.features == ("depot", "weight", "distance", "load")
    assert fitted.base_rate == pytest.approx(frame["label"].mean())
    assert fitted.spec_digest == any_spec.digest


@pytest.mark.parametrize(
    "names", [PLAIN, pytest.param(["mlp"], marks=[pytest.mark.torch, NO_TORCH])], ids=["all but torch", "mlp"]
)
def test_another_process_with_another_number_of_threads_makes_the_same_model_d10(names, frame, make_spec):
    wanted = {name: SMALL.get(name, {}) for name in names}
    here = {n: fit(make_spec(trainer=n, parameters=p), frame, threads=1).digest for n, p in wanted.items()}
    fixtures = str(Path(__file__).with_name("conftest.py"))
    command = [sys.executable, "-c", FIT_ELSEWHERE, fixtures, json.dumps(wanted)]
    others = [subprocess.Popen([*command, n], stdout=subprocess.PIPE, text=True) for n in "12"]
    found = [dict(line.split() for line in other.communicate()[0].splitlines()) for other in others]
    assert found == [here, here]


def test_one_changed_label_makes_another_model(any_spec, frame):
    changed = frame.copy()
    changed.loc[0, "label"] = 1 - changed.loc[0, "label"]
    assert fit(any_spec, frame, threads=1).digest != fit(any_spec, changed, threads=1).digest


def test_unseen_text_and_missing_numbers_are_scored(any_spec, frame):
    strange = frame.head(3).assign(depot="never seen", weight=np.nan)
    assert np.isfinite(predict(fit(any_spec, frame, threads=1), strange)).all()


def test_a_column_without_any_value_is_no_obstacle(any_spec, frame):
    assert fit(any_spec, frame.assign(load=np.nan), threads=1).rows == len(frame)


def test_a_project_without_text_features_trains(frame, any_spec):
    features = any_spec.features.model_copy(update={"request": ["weight", "load"], "text": []})
    assert fit(any_spec.model_copy(update={"features": features}), frame, threads=1).features == ("weight", "load")


@pytest.mark.parametrize("label", [0.0, 1.0, np.nan], ids=["all negative", "all positive", "all missing"])
def test_labels_that_are_all_alike_are_refused(any_spec, frame, label):
    with pytest.raises(TrainingFailed, match="both 0 and 1"):
        fit(any_spec, frame.assign(label=label), threads=1)


def test_a_missing_feature_column_is_named(spec, frame):
    with pytest.raises(SourceMissing, match="the model takes load"):
        fit(spec, frame.drop(columns="load"), threads=1)


def test_an_impossible_parameter_value_is_a_failed_training(make_spec, frame):
    with pytest.raises(TrainingFailed, match="num_leaves"):
        fit(make_spec(parameters={"num_leaves": -4}), frame, threads=1)


@pytest.mark.parametrize(
    ("trainer", "name", "message"),
    [
        ("lightgbm", "num_leafs", "did you mean 'num_leaves'"),
        ("lightgbm", "random_state", "set by Baton"),
        ("lightgbm", "deterministic", "set by Baton"),
        ("logistic", "max_itr", "did you mean 'max_iter'"),
    ],
)
def test_an_unknown_parameter_is_named_with_the_nearest_known_one(trainer, name, message, make_spec, frame):
    with pytest.raises(SpecInvalid, match=message):
        fit(make_spec(trainer=trainer, parameters={name: 1}), frame, threads=1)


def test_an_unknown_trainer_is_named_with_the_nearest_known_one(make_spec, frame):
    with pytest.raises(SpecInvalid, match="to 'lightgbm'"):
        fit(make_spec(trainer="lightgmb"), frame, threads=1)


def test_two_fits_side_by_side_are_those_of_one_after_the_other(make_spec, frame):
    spec = make_spec(trainer="linear", parameters={})
    parts = [frame, frame.head(3_000), frame.tail(3_000), frame.iloc[::2]]
    alone = [fit(spec, part, threads=1).digest for part in parts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda part: fit(spec, part, threads=1).digest, parts)) == alone


def test_found_parameters_replace_the_declared_ones(make_spec, frame):
    spec = make_spec()
    found = fit(spec, frame, threads=1, parameters={"num_leaves": 4})
    declared = fit(with_parameters(spec, {"num_leaves": 4}), frame, threads=1)
    assert found.digest == declared.digest
    assert found.parameters == {"n_estimators": 30, "num_leaves": 4}
    assert found.spec_digest == spec.digest


def test_no_rows_get_no_scores(any_spec, frame):
    assert predict(fit(any_spec, frame, threads=1), frame.head(0)).shape == (0,)


def test_a_fit_that_takes_too_long_says_so_d9(make_spec, frame):
    def ring(*_):
        raise TimeoutError("60 s are over")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(TrainingFailed, match=r"ran out of time: 60 s are over"):
            fit(make_spec(parameters={"n_estimators": 500_000}), frame, threads=1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


TOO_LARGE = """
import importlib.util, resource, sys
place = importlib.util.spec_from_file_location("conftest", sys.argv[1])
made = importlib.util.module_from_spec(place); place.loader.exec_module(made)
from baton.core.errors import TrainingFailed
from baton.training.fit import fit
frame = made.make_frame()
spec = made.make_spec(trainer=sys.argv[2], parameters={})
fit(spec, frame.head(1000), threads=1)
frame = frame.loc[frame.index.repeat(30)].assign(depot=[f"d{i % 4000}" for i in range(len(frame) * 30)])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
try:
    fit(spec, frame, threads=1)
except TrainingFailed as error:
    print(error.what)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="no limit of memory here")
def test_a_fit_without_enough_memory_says_so_d9():
    fixtures = str(Path(__file__).with_name("conftest.py"))
    command = [sys.executable, "-c", TOO_LARGE, fixtures, "linear"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the fit on 180000 rows ran out of memory")
