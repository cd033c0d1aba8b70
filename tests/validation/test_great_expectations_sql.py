"""What DuckDB counts is what Great Expectations' own engine counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from baton.core.spec import Expectation
from baton.settings import Settings, quiet_vendors
from baton.validation.duckdb_table import DuckDbTable
from baton.validation.great_expectations_builder import PLACE, build_suite
from baton.validation.great_expectations_sql import answers, question

ROWS = 400
ASKED = [
    ("not_be_null", {"column": "text"}),
    ("not_be_null", {"column": "number", "mostly": 0.9}),
    ("be_null", {"column": "text"}),
    ("be_between", {"column": "number", "min_value": -1, "max_value": 1.25}),
    ("be_between", {"column": "whole", "min_value": 3, "strict_min": True}),
    ("be_between", {"column": "whole", "max_value": 7, "strict_max": True, "mostly": 0.5}),
    ("be_between", {"column": "number", "min_value": 0, "row_condition": "whole > 5", "condition_parser": "pandas"}),
    ("be_in_set", {"column": "text", "value_set": ["a", "it's"]}),
    ("be_in_set", {"column": "whole", "value_set": [1, 2, 3]}),
    ("be_in_set", {"column": "flag", "value_set": [True]}),
    ("not_be_in_set", {"column": "kind", "value_set": ["b"]}),
    ("match_regex", {"column": "text", "regex": "^[a-z]$"}),
    ("not_match_regex", {"column": "text", "regex": r"\s"}),
    ("be_unique", {"column": "whole"}),
    ("be_unique", {"column": "key"}),
]
WHOLE = [
    ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 1, "max_value": 2}),
    ("expect_column_value_lengths_to_equal", {"column": "text", "value": 1}),
    ("expect_column_mean_to_be_between", {"column": "number", "min_value": -1, "max_value": 1}),
    ("expect_column_median_to_be_between", {"column": "whole", "min_value": 0, "max_value": 1}),
    ("expect_column_stdev_to_be_between", {"column": "number", "min_value": 0.5, "max_value": 2}),
    ("expect_column_min_to_be_between", {"column": "number", "min_value": -1}),
    ("expect_column_max_to_be_between", {"column": "whole", "max_value": 9}),
    ("expect_column_sum_to_be_between", {"column": "whole", "max_value": 9}),
    ("expect_column_unique_value_count_to_be_between", {"column": "text", "max_value": 9}),
    ("expect_table_row_count_to_be_between", {"min_value": ROWS}),
    ("expect_table_columns_to_match_set", {"column_set": ["text"], "exact_match": False}),
    ("expect_table_columns_to_match_set", {"column_set": ["text"]}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["whole", "text"]}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["key", "text"]}),
]


def _rows(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    number = np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(size=ROWS))
    number[:2] = np.inf, -np.inf
    return pd.DataFrame(
        {
            "key": np.arange(ROWS),
            "number": number,
            "whole": rng.integers(0, 10, size=ROWS),
            "text": rng.choice(np.array(["a", "b ", "it's", "dd", "É", None], dtype=object), size=ROWS),
            "kind": pd.Categorical(rng.choice(["b", "c"], size=ROWS)),
            "flag": rng.random(ROWS) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    quiet_vendors(Settings(home=tmp_path_factory.mktemp("home")))
    names = [(f"expect_column_values_to_{name}", arguments) for name, arguments in ASKED]
    declared = [Expectation(type=name, severity="stop", arguments=arguments) for name, arguments in [*names, *WHOLE]]
    return build_suite("all", "all", declared).expectations


def test_the_metrics_are_the_same(built):
    import great_expectations as gx

    rows = _rows(1)
    table = DuckDbTable(rows)
    questions = [question(each, table) for each in built]
    assert None not in questions
    ours = answers(built, questions, table)
    batch = gx.get_context(mode="ephemeral").data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = batch.add_batch_definition_whole_dataframe("b").get_batch({"dataframe": rows})
    suite = gx.ExpectationSuite("copies", expectations=[each.copy(update={"id": None}) for each in built])
    # The mean of infinities is no number, theirs with a warning.
    with np.errstate(invalid="ignore"):
        found = batch.validate(suite, result_format="COMPLETE").results
    theirs = {result.expectation_config.meta[PLACE]: result for result in found}
    for place, (expectation, answer) in enumerate(zip(built, ours, strict=True)):
        found, name = theirs[place], f"{expectation.expectation_type} {expectation.configuration.kwargs}"
        assert found.exception_info.get("raised_exception") is False, (name, found.exception_info)
        assert answer.result["success"] == found.success, name
        assert answer.places.tolist() == sorted(found.result.get("unexpected_index_list") or []), name
        for field in ("element_count", "missing_count", "unexpected_count", "unexpected_percent"):
            assert answer.result["result"].get(field) == pytest.approx(found.result.get(field)), (name, field)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("be_between", {"column": "text", "min_value": 1}),
        ("be_between", {"column": "mixed", "min_value": 1}),
        ("be_between", {"column": "gone", "min_value": 1}),
        ("be_in_set", {"column": "text", "value_set": [1]}),
        ("match_regex", {"column": "text", "regex": "(?=a)a"}),
        ("match_regex", {"column": "whole", "regex": "a"}),
        (
            "be_between",
            {"column": "whole", "min_value": 1, "row_condition": "text == 'a'", "condition_parser": "pandas"},
        ),
    ],
    ids=[
        "a number of a text",
        "mixed",
        "gone",
        "numbers of a text",
        "look ahead",
        "a pattern of a number",
        "condition",
    ],
)
def test_what_duckdb_would_answer_otherwise_is_left_alone(tmp_path, name, arguments):
    quiet_vendors(Settings(home=tmp_path))
    declared = Expectation(type=f"expect_column_values_to_{name}", severity="stop", arguments=arguments)
    (expectation,) = build_suite("one", "one", [declared]).expectations
    assert question(expectation, DuckDbTable(_rows(1).assign(mixed=[1, "a"] * (ROWS // 2)))) is None
