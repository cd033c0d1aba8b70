"""Rows beyond the training range, callers who map the model, and scores that are told with few digits."""

import asyncio
import logging

import numpy as np
import pyarrow.parquet as pq
import pytest

from baton.packaging.rows import Rows
from baton.serving.extraction import ExtractionWatch
from baton.serving.training_range import OUT_OF_RANGE

PREDICT, INFER = "/v1/models/flights/predict", "/v2/models/flights/infer"
ROWS = [
    {"carrier": "AA", "distance": 100, "delay": 3},
    {"carrier": "AA", "distance": 90_000, "delay": None},
    {"carrier": "nobody", "distance": None, "delay": -900},
]
TENSORS = [
    {"name": name, "datatype": "BYTES" if name == "carrier" else "FP64", "shape": [3], "data": [r[name] for r in ROWS]}
    for name in ROWS[0]
]


def test_a_number_beyond_the_training_range_is_answered_with_a_warning_and_counted(state, release, client_of):
    """G8: missing is no number, and so in every range."""
    release(0)

    async def story():
        async with client_of(state) as client:
            return [
                await client.post(PREDICT, json={"rows": ROWS}),
                await client.post(INFER, json={"inputs": TENSORS}),
                await client.get("/metrics"),
            ]

    rows, tensors, metrics = asyncio.run(story())
    assert [each.get("warnings") for each in rows.json()["predictions"]] == [None, [OUT_OF_RANGE], [OUT_OF_RANGE]]
    assert tensors.json()["parameters"][OUT_OF_RANGE] == "1,2"
    assert "baton_out_of_range_rows_total 4.0" in metrics.text


def test_a_number_beyond_the_training_range_is_refused_where_the_policy_says_so(state, release, client_of):
    """G8: with its field and row."""
    release(0)

    async def story():
        async with client_of(state, out_of_range="refuse") as client:
            return [
                await client.post(PREDICT, json={"rows": ROWS[:1]}),
                await client.post(PREDICT, json={"rows": ROWS}),
                await client.post(INFER, json={"inputs": TENSORS}),
            ]

    good, *refused = asyncio.run(story())
    assert good.status_code == 200
    for answer in refused:
        assert answer.status_code == 422
        assert [each["detail"] for each in answer.json()["errors"]] == [
            "distance of row 1 is beyond the training range",
            "delay of row 2 is beyond the training range",
        ]


def test_everything_that_the_model_was_trained_on_is_in_its_range(state, release, sealed, client_of):
    release(0)

    async def story():
        async with client_of(state) as client:
            return await client.post(PREDICT, json={"rows": sealed.requests})

    assert not [each for each in asyncio.run(story()).json()["predictions"] if "warnings" in each]


def test_scores_are_told_with_as_many_digits_as_the_settings_say(state, release, sealed, client_of):
    """H8: the log keeps them all, in both protocols."""
    release(0)
    tensors = [each | {"shape": [1], "data": each["data"][:1]} for each in TENSORS]

    async def story():
        async with client_of(state, score_decimals=3) as client:
            return [
                await client.post(PREDICT, json={"rows": sealed.requests[:20]}),
                await client.post(INFER, json={"inputs": tensors}),
            ]

    rows, answer = asyncio.run(story())
    told = [each["score"] for each in rows.json()["predictions"]] + answer.json()["outputs"][0]["data"]
    assert told == [round(each, 3) for each in told]
    logged = [
        row["score"] for path in (state / "predictions").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert len(logged) == 21
    assert [each for each in logged if each != round(each, 3)]


WIDE = 20


def table(numbers):
    return Rows(numbers=np.asarray(numbers, dtype=np.float32), texts=np.full((len(numbers), 2), "x", dtype=object))


def honest(rng, count):
    """Rows as they come: most numbers differ, some are missing."""
    numbers = rng.normal(size=(count, WIDE)).round(1)
    numbers[rng.random((count, WIDE)) < 0.3] = np.nan
    return numbers


def grid(count):
    """Every value of two features, all others fixed."""
    numbers = np.full((count, WIDE), 0.5)
    numbers[:, 0], numbers[:, 1] = np.arange(count) % 50, np.arange(count) // 50
    return numbers


def walk(rng, count):
    """From row to row one feature changes."""
    steps = np.zeros((count, WIDE))
    steps[np.arange(count), rng.integers(0, WIDE, size=count)] = rng.normal(size=count)
    return steps.cumsum(axis=0)


@pytest.mark.parametrize("kind", ["grid", "walk"])
@pytest.mark.parametrize("rows_each", [1, 5])
def test_a_caller_who_maps_the_model_is_an_alarm(kind, rows_each, caplog):
    """H8: within 2,000 requests, and by name."""
    rng = np.random.default_rng(3)
    count = 2_000 * rows_each
    rows = grid(count) if kind == "grid" else walk(rng, count)
    alarms = []
    watch = ExtractionWatch(alarm=lambda: alarms.append(1))

    with caplog.at_level(logging.WARNING):
        for at in range(0, count, rows_each):
            watch.saw("key-mapper", table(rows[at : at + rows_each]))

    assert alarms
    assert {record.caller for record in caplog.records} == {"key-mapper"}


def test_honest_callers_and_those_who_repeat_themselves_are_none():
    """H8: 50,000 rows without an alarm."""
    rng = np.random.default_rng(4)
    alarms = []
    watch = ExtractionWatch(alarm=lambda: alarms.append(1))
    same = table(honest(rng, 1))
    for row in honest(rng, 50_000):
        watch.saw("key-honest", table([row]))
        watch.saw("key-health-check", same)

    assert not alarms


def test_made_up_callers_cost_no_memory_without_end():
    """K3."""
    watch = ExtractionWatch(alarm=lambda: None)
    row = table(np.zeros((1, WIDE)))
    for at in range(3_000):
        watch.saw(f"address-{at}", row)
    assert len(watch._trails) == 1_000
