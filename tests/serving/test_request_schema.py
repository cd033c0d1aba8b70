"""A request is taken as it is or refused with everything that is wrong."""

import json
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.core.bundle import Field
from baton.serving.request_body import BodyUnreadable, TooManyRows, parse_request, read_body
from baton.serving.request_schema import SHOWN_PROBLEMS, RequestRefused

FIELDS = (
    Field(name="carrier", kind="text"),
    Field(name="distance", kind="number"),
    Field(name="wind", kind="number", required=False),
)
GOOD = {"carrier": "AA", "distance": 1400, "wind": 5.5}


def parse(body, *, most_rows=100):
    return parse_request(read_body(json.dumps(body).encode()), FIELDS, most_rows=most_rows)


def refused(body):
    with pytest.raises(RequestRefused) as error:
        parse(body)
    return {problem.pointer: problem.detail for problem in error.value.problems}


def test_rows_become_arrays_in_the_order_of_the_fields():
    request = parse({"rows": [GOOD, {"wind": None, "distance": 0.1, "carrier": None}]})

    assert request.rows.texts.tolist() == [["AA"], [""]]
    assert np.array_equal(request.rows.numbers, np.array([[1400, 5.5], [0.1, np.nan]], dtype="float32"), equal_nan=True)


def test_columns_say_the_same_as_rows():
    by_column = parse({"columns": {"carrier": ["AA", "UA"], "distance": [1, 2], "wind": [None, 3]}})
    by_row = parse(
        {"rows": [{"carrier": "AA", "distance": 1, "wind": None}, {"carrier": "UA", "distance": 2, "wind": 3}]}
    )

    assert np.array_equal(by_column.rows.numbers, by_row.rows.numbers, equal_nan=True)
    assert by_column.rows.texts.tolist() == by_row.rows.texts.tolist()


def test_a_field_that_is_not_required_may_be_left_out():
    assert np.isnan(parse({"rows": [{"carrier": "AA", "distance": 1}]}).rows.numbers[0, 1])


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        ({"distance": "1400"}, "/rows/0/distance", "expected number or null, found text"),
        ({"distance": True}, "/rows/0/distance", "expected number or null, found a truth value"),
        ({"distance": [1]}, "/rows/0/distance", "expected number or null, found a list"),
        ({"distance": 1e39}, "/rows/0/distance", "too large for a 32-bit float"),
        ({"distance": -(10**400)}, "/rows/0/distance", "too large for a 32-bit float"),
        ({"carrier": 5}, "/rows/0/carrier", "expected text or null, found a number"),
        ({"carrier": "A\0"}, "/rows/0/carrier", "text holds NUL or half a character"),
        ({"carrier": "\ud800"}, "/rows/0/carrier", "text holds NUL or half a character"),
        ({"distanse": 1}, "/rows/0/distanse", "unknown field, did you mean 'distance'?"),
        ({"a/b~": 1}, "/rows/0/a~1b~0", "unknown field"),
    ],
)
def test_a_wrong_value_is_named(change, pointer, detail):
    assert refused({"rows": [GOOD | change]}) == {pointer: detail}


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ([], "", "expected an object, found an empty list"),
        ({}, "", "expected either rows or columns"),
        ({"rows": [GOOD], "columns": {}}, "", "expected either rows or columns"),
        ({"rows": []}, "/rows", "expected a list of at least one row, found an empty list"),
        ({"rows": [5]}, "/rows/0", "expected an object, found a number"),
        ({"rows": [GOOD], "entitys": []}, "/entitys", "unknown key, did you mean 'entities'?"),
        ({"rows": [GOOD], "entities": []}, "/entities", "expected a list of 1 texts, one for each row"),
        ({"rows": [GOOD], "entities": ["a\nb"]}, "/entities/0", "expected printable text, found text"),
        ({"columns": {"carrier": ["AA"], "distance": []}}, "/columns/distance", "has 0 values, the first column 1"),
        ({"columns": {"carrier": ["AA", "B6"]}}, "/columns/distance/0", "field is missing"),
        (
            {"columns": {"carrier": ["AA"], "distance": ["x"]}},
            "/columns/distance/0",
            "expected number or null, found text",
        ),
    ],
)
def test_a_wrong_body_is_named(body, pointer, detail):
    assert refused(body) == {pointer: detail}


def test_a_missing_field_is_named():
    assert refused({"rows": [{"carrier": "AA"}]}) == {"/rows/0/distance": "field is missing"}


def test_the_first_problems_are_listed_and_the_others_counted():
    with pytest.raises(RequestRefused) as error:
        parse({"rows": [{"carrier": 1, "distance": "x"}] * 15})

    assert len(error.value.problems) == SHOWN_PROBLEMS
    assert error.value.more == 10


def test_too_many_rows_are_refused():
    with pytest.raises(TooManyRows, match="3 rows are too many"):
        parse({"rows": [GOOD] * 3}, most_rows=2)


@pytest.mark.parametrize(
    "content",
    [b'{"rows": NaN}', b"[Infinity]", b"[-Infinity]", b"", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000, b"1" * 5_000],
    ids=["NaN", "Infinity", "-Infinity", "empty", "not UTF-8", "a key twice", "too deep", "too long a number"],
)
def test_a_body_that_is_not_strict_json_is_unreadable(content):
    with pytest.raises(BodyUnreadable):
        read_body(content)


def test_moments_are_read_with_their_offset():
    request = parse({"rows": [GOOD], "entities": ["UA-1"], "moments": ["2013-04-01T08:00:00-04:00"]})

    assert request.entities == ("UA-1",)
    assert request.moments == (datetime(2013, 4, 1, 12, tzinfo=timezone.utc),)


@pytest.mark.parametrize("moment", ["2013-04-01T08:00:00", "yesterday", "", 5, "0001-01-01T00:00:00+23:59"])
def test_a_moment_without_offset_or_meaning_is_refused(moment):
    assert "/moments/0" in refused({"rows": [GOOD], "moments": [moment]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROW = st.dictionaries(st.sampled_from(["carrier", "distance", "wind", "distanse"]), JSON)


@given(JSON | st.fixed_dictionaries({"rows": st.lists(ROW, max_size=3)}) | st.fixed_dictionaries({"columns": ROW}))
def test_any_json_is_taken_or_refused_with_reasons(body):
    try:
        request = parse(body)
    except RequestRefused as refusal:
        str(refusal).encode()
    else:
        assert not np.isinf(request.rows.numbers).any()
        assert all(isinstance(text, str) for text in request.rows.texts.ravel())


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "carrier": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
                "distance": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
                "wind": st.none() | st.integers(-(2**24), 2**24),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_values_arrive_unchanged(rows):
    request = parse({"rows": rows})

    back = [
        {"carrier": text, "distance": None if np.isnan(a) else float(a), "wind": None if np.isnan(b) else float(b)}
        for (text,), (a, b) in zip(request.rows.texts, request.rows.numbers, strict=True)
    ]
    assert back == [row | {"carrier": row["carrier"] or ""} for row in rows]
