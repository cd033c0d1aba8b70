"""Equal content has equal digests, whoever computes them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.core.digest import canonical_json, digest_of, digest_of_file, digest_of_frame, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: float
    at: datetime


@given(VALUES)
def test_plain_values_pass_through_unchanged(value: object) -> None:
    import json

    assert json.loads(canonical_json(value)) == plain(value)


def test_the_order_of_keys_does_not_count() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_one_moment_has_one_text_in_every_zone() -> None:
    utc = datetime(2013, 7, 1, 6, tzinfo=timezone.utc)
    there = utc.astimezone(timezone(timedelta(hours=-4)))
    assert (
        canonical_json(Point(1.0, utc))
        == canonical_json(Point(1.0, there))
        == b'{"at":"2013-07-01T06:00:00Z","x":1.0}\n'
    )


def test_numpy_numbers_and_enums_are_their_values() -> None:
    assert plain({"n": np.float64(0.5), "c": Color.RED, "p": Path("a/b")}) == {"n": 0.5, "c": "red", "p": "a/b"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_json_carries_a_number_that_is_none(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": number})


def test_a_frame_is_its_values_whatever_its_index() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", ""]})
    assert digest_of_frame(frame) == digest_of_frame(frame.set_index(np.array([7, 8])))
    assert digest_of_frame(frame) != digest_of_frame(frame.iloc[::-1])
    assert digest_of_frame(frame) != digest_of_frame(frame.rename(columns={"a": "c"}))


def test_another_process_gives_the_same_digest(tmp_path: Path) -> None:
    code = (
        "import pandas as pd; from baton.core.digest import digest_of_frame as d;"
        "print(d(pd.DataFrame({'a': [1.0, 2.0], 'b': ['x', None]})))"
    )
    outputs = {subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)}
    assert len(outputs) == 1
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    assert digest_of_file(file).startswith("ba7816bf")
