import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from baton.training.content import default_content
from baton.training.encoding import with_columns
from baton.training.generated import generated_rows, generated_spec

ESTIMATORS = {
    "forest": lambda seed: RandomForestClassifier(5, random_state=seed),
    "kernel": lambda seed: SVC(C=1 + seed),
    "neighbours": lambda seed: KNeighborsClassifier(5 + seed, algorithm="kd_tree"),
}


def fitted(name, seed, tmp_path):
    rows = generated_rows("binary")
    spec = generated_spec("binary", trainer="linear", folder=tmp_path)
    pipeline = with_columns(spec, ESTIMATORS[name](seed))
    return pipeline.fit(rows[list(spec.features.names)], rows["label"].astype(int))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_equal_fits_have_equal_content_and_others_have_not(name, tmp_path):
    one, two, other = (default_content(fitted(name, seed, tmp_path)) for seed in (0, 0, 1))
    assert one == two
    assert one != other


class Holder:
    def __init__(self, **values):
        vars(self).update(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        ("1", 1),
        ([1, [2]], [[1], 2]),
        ([], ()),
        (np.zeros(4), np.zeros((2, 2))),
        (np.zeros(2), np.zeros(2, dtype=np.float32)),
        (np.array(["a", None], dtype=object), np.array(["a", "None"], dtype=object)),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        pytest.param(Holder(a=1), Holder(b=1), id="attributes of other names"),
        (len, repr),
    ],
    ids=str,
)
def test_values_that_differ_have_content_that_differs(one, other):
    assert default_content(one) != default_content(other)


def test_order_and_threads_are_no_content():
    assert default_content({"a": 1, "b": 2}) == default_content({"b": 2, "a": 1})
    assert default_content({"x", "y", "z"}) == default_content({"z", "y", "x"})
    assert default_content(Holder(n_jobs=1, c=2)) == default_content(Holder(n_jobs=8, c=2))


def test_the_gaps_of_records_are_no_content():
    kind = np.dtype([("flag", np.uint8), ("value", np.float64)], align=True)
    one, two = (np.frombuffer(bytes([fill]) * (kind.itemsize * 3), dtype=kind).copy() for fill in (0, 7))
    for records in (one, two):
        records["flag"], records["value"] = 1, 2.5
    assert one.tobytes() != two.tobytes()
    assert default_content(one) == default_content(two)


def test_what_holds_itself_ends():
    holder = Holder(name="root")
    holder.me = holder
    assert default_content(holder) == default_content(holder)
