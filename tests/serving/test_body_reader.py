"""The short way and the long way to read a body agree on whatever the short one takes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.core.bundle import Field
from baton.serving.body_reader import BodyReader
from baton.serving.request_body import BodyUnreadable, parse_request, read_body
from baton.serving.request_schema import RequestRefused

FIELDS = (
    Field(name="carrier", kind="text"),
    Field(name="distance", kind="number"),
    Field(name="to: dest", kind="text"),
    Field(name="delay", kind="number"),
)
numbers = st.none() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.none() | st.text(max_size=12)
rows = st.fixed_dictionaries({"carrier": texts, "distance": numbers, "to: dest": texts, "delay": numbers})
labels = st.sampled_from(["a", "b:c", '"d"', "2013-04-01T12:00:00Z", "\u202e"])


@given(st.lists(rows, min_size=1, max_size=5), st.booleans(), st.booleans(), st.data())
@settings(max_examples=200, deadline=None)
def test_both_ways_read_the_same(given_rows, by_column, escaped, data):
    body = {"columns": {name: [row[name] for row in given_rows] for name in given_rows[0]}}
    if not by_column:
        body = {"rows": given_rows}
    if data.draw(st.booleans()):
        body["entities"] = data.draw(st.lists(labels, min_size=len(given_rows), max_size=len(given_rows)))
    content = json.dumps(body, ensure_ascii=escaped).encode("utf-8", "surrogatepass")

    assert _told(BodyReader(FIELDS)._quickly, content) in (None, _told(_slowly, content))
    assert _told(lambda each, most: BodyReader(FIELDS).read(each, most_rows=most), content) == _told(_slowly, content)


@pytest.mark.parametrize(
    "content",
    [
        b'{"rows": [], "rows": [ROW]}',
        b'{"rows": [{"delay": 2, "carrier": "AA", "distance": 1, "to: dest": "x", "delay": 3}]}',
        b'{"rows": [{"delay": 2, "carrier": "A:", "distance": 1, "to: dest": "x", "delay" : 3}]}',
        b'{"entities": ["a"], "rows": [ROW], "entities": ["b"]}',
    ],
    ids=["rows", "a field", "a field beside a colon", "entities"],
)
def test_a_key_twice_is_refused(content):
    row = b'{"carrier": "AA", "distance": 1, "to: dest": "x", "delay": 3}'

    with pytest.raises(BodyUnreadable, match="twice"):
        BodyReader(FIELDS).read(content.replace(b"ROW", row), most_rows=9)


def test_what_is_in_order_takes_the_short_way():
    content = json.dumps({"rows": [{"carrier": None, "distance": 1, "to: dest": "x:y", "delay": None}]}).encode()

    request = BodyReader(FIELDS)._quickly(content, 9)

    assert request.rows.numbers.dtype == np.float32
    assert np.isnan(request.rows.numbers[0, 1])
    assert request.rows.texts.tolist() == [["", "x:y"]]


def _slowly(content, most_rows):
    return parse_request(read_body(content), FIELDS, most_rows=most_rows)


def _told(read, content):
    """Give what is comparable of a request, None, or the refusal's words."""
    try:
        request = read(content, 9)
    except (RequestRefused, BodyUnreadable) as error:
        return str(error)
    if request is None:
        return None
    return request.rows.numbers.tobytes(), request.rows.texts.tolist(), request.entities, request.moments
