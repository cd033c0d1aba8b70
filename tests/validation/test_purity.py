"""C16: a row of the holdout that a model has learnt from is found, whatever name or values it comes back with."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import IntegrityBroken, SourceMissing
from baton.core.verdict import Outcome
from baton.validation.purity import purity, read_prints, row_prints, rows_seen, shared, write_prints
from baton.validation.row_hash import row_hashes

FEATURES = ["carrier", "delay", "rain", "seats"]


@pytest.fixture
def parts(rows):
    return rows.iloc[:1_500], rows.iloc[1_500:].reset_index(drop=True)


def looked(holdout, known):
    return purity(holdout, rows_seen(holdout, FEATURES, known))


def test_a_clean_holdout_passes(parts):
    train, holdout = parts
    known = row_prints(train, FEATURES)
    check = looked(holdout, {"challenger": known, "champion": known})
    assert (check.outcome, check.observed) == (Outcome.PASSED, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda leak: leak,
        lambda leak: leak.assign(delay=leak["delay"] + 1, label=1 - leak["label"]),
        lambda leak: leak.assign(id=leak["id"] + "-again"),
    ],
    ids=["the same rows", "under other values", "under another id"],
)
@pytest.mark.parametrize("who", ["challenger", "champion"])
def test_leaked_rows_fail_and_are_named(parts, change, who):
    """C16: ids overlap, in either model's training rows."""
    train, holdout = parts
    clean = row_prints(train, FEATURES)
    leaky = row_prints(pd.concat([train, change(holdout.iloc[10:15])]), FEATURES)
    check = looked(holdout, {"challenger": clean, "champion": clean} | {who: leaky})
    assert (check.outcome, check.observed) == (Outcome.FAILED, 5.0)
    assert f"5 of 500 holdout rows trained the {who}: flight-1510" in check.detail
    assert "and 2 more" in check.detail


def test_unknown_training_rows_show_nothing(parts):
    train, holdout = parts
    known = row_prints(train, FEATURES)
    assert looked(holdout, {"challenger": known, "champion": None}).outcome is Outcome.UNDECIDED
    assert looked(holdout, {}).outcome is Outcome.UNDECIDED
    assert looked(holdout.iloc[:0], {"challenger": known}).outcome is Outcome.UNDECIDED


def test_each_row_is_told_for_each_model(parts):
    train, holdout = parts
    known, leaky = (row_prints(part, FEATURES) for part in (train, pd.concat([train, holdout.head(7)])))
    seen = rows_seen(holdout, FEATURES, {"challenger": known, "champion": leaky, "other": None})
    assert (seen["challenger"].sum(), seen["champion"].tolist(), seen["other"]) == (0, [True] * 7 + [False] * 493, None)


def test_a_leak_is_told_even_where_other_rows_are_unknown(parts):
    train, holdout = parts
    leaky = row_prints(pd.concat([train, holdout]), FEATURES)
    assert looked(holdout, {"challenger": leaky, "champion": None}).outcome is Outcome.FAILED


def test_training_rows_are_read_back_as_written(parts, tmp_path):
    train, holdout = parts
    prints = row_prints(train, FEATURES)
    write_prints(tmp_path / "rows.parquet", prints)
    back = read_prints(tmp_path / "rows.parquet")
    assert back.ids.tolist() == sorted(prints.ids.tolist())
    assert back.contents.tolist() == sorted(prints.contents.tolist())
    assert shared(row_prints(train.iloc[:7], FEATURES).contents, back.contents).sum() == 7
    assert shared(row_prints(holdout, FEATURES).ids, back.ids).sum() == 0
    assert (tmp_path / "rows.parquet").stat().st_size < 1_500 * 20


@pytest.mark.parametrize("damage", ["torn", "foreign"])
def test_a_damaged_file_is_refused(parts, tmp_path, damage):
    file = tmp_path / "rows.parquet"
    write_prints(file, row_prints(parts[0], FEATURES))
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        pd.DataFrame({"ids": [1], "contents": [2]}).to_parquet(file)
    with pytest.raises(IntegrityBroken, match=r"rows\.parquet"):
        read_prints(file)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(SourceMissing):
        read_prints(tmp_path / "rows.parquet")


# The frame and hashes of rows that were kept years ago.
KEPT = """
import pandas as pd
frame = pd.DataFrame({
    "id": ["a", "ü", None],
    "n": [1.5, float("nan"), -0.0],
    "at": pd.to_datetime(["2013-01-01", "2013-07-01 12:00:00.000000001", None], utc=True, format="ISO8601"),
})
"""
HASHES = [12652772435965822267, 1242395972310156581, 5940268698107580040]


def kept() -> pd.DataFrame:
    scope = {}
    exec(KEPT, scope)
    return scope["frame"]


def test_hashes_never_change():
    assert row_hashes(kept(), ["id", "n", "at"]).tolist() == HASHES


def test_another_process_hashes_alike():
    code = f"from baton.validation.row_hash import row_hashes\n{KEPT}\nprint(row_hashes(frame, list(frame)).tolist())"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(HASHES)


@pytest.mark.parametrize(
    "alike",
    [
        lambda f: f[["at", "n", "id"]],
        lambda f: f.assign(id=f["id"].astype("string")),
        lambda f: f.assign(id=f["id"].astype("category")),
        lambda f: f.assign(id=f["id"].fillna("")),
        lambda f: f.assign(n=f["n"] + 0.0),
        lambda f: f.assign(n=f["n"].astype("Float64")),
        lambda f: f.assign(at=f["at"].dt.tz_convert("America/New_York")),
        lambda f: f.set_index(pd.Index([7, 7, 7])),
    ],
    ids=["column order", "string", "category", "empty is missing", "zero", "nullable", "zone", "index"],
)
def test_equal_values_hash_alike(alike):
    assert row_hashes(alike(kept()), ["n", "id", "at"]).tolist() == HASHES


def test_whole_numbers_hash_alike_whatever_holds_them():
    frames = [pd.DataFrame({"n": np.array([0, 1], dtype=kind)}) for kind in ("int64", "int8", "float32", "bool")]
    assert len({tuple(row_hashes(frame, ["n"]).tolist()) for frame in frames}) == 1


def test_values_that_change_places_hash_otherwise():
    frame = pd.DataFrame({"a": ["x", "y"], "b": ["y", "x"], "c": ["x", "x"]})
    assert len(set(row_hashes(frame, ["a", "b"]).tolist())) == 2
    assert row_hashes(frame, ["a"]).tolist() != row_hashes(frame.rename(columns={"a": "z"}), ["z"]).tolist()


def test_no_two_of_many_rows_hash_alike_and_it_is_quick():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({f"n{n}": rng.integers(0, 50, 300_000).astype(float) for n in range(29)})
    frame["id"] = [f"row-{n}" for n in range(300_000)]
    start = time.process_time()
    hashes = row_hashes(frame, frame.columns)
    assert time.process_time() - start < 3
    assert len(np.unique(hashes)) == 300_000


def test_a_column_that_is_not_there_is_named(rows):
    with pytest.raises(SourceMissing, match="wings"):
        row_hashes(rows, ["wings"])
