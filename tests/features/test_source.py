"""The project's own code is loaded, and what it lacks is named."""

from __future__ import annotations

import pytest

from baton.core.errors import SourceMissing
from baton.features.project_file import load_file
from baton.features.source import load_definitions, read_tables


def _write(spec, name, old, new):
    file = spec.folder / name
    file.write_text(file.read_text().replace(old, new))


def test_tables_come_with_times_in_utc_and_one_unit(shop):
    tables = read_tables(shop)
    assert list(tables) == ["orders", "visits"]
    assert str(tables["orders"]["known_time"].dtype) == "datetime64[ns, UTC]"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"visits": visits', '"visit": visits', "no table 'visits', did you mean 'visit'"),
        ('"shop": [', '"shopp": [', "no column 'shop', did you mean 'shopp'"),
        ("00Z", "00", "orders.known_time has no time zone: pd.to_datetime"),
        (
            '"known_time": at})\n    return',
            '"known_time": at.where([True, False, True])})\n    return',
            "missing in 1 rows",
        ),
        ("def read()", "def reads()", "has no function 'read': , did you mean 'reads'"),
        ("import pandas", "import pandaz", "ModuleNotFoundError"),
        ("    return {", "    return 3 or {", "gave no tables"),
        ("    return {", "    raise KeyError('lost')\n    return {", "KeyError: 'lost'"),
    ],
    ids=["table", "column", "no zone", "missing time", "function", "import", "not a mapping", "raises"],
)
def test_what_a_reader_lacks_is_named(shop, old, new, message):
    _write(shop, "source.py", old, new)
    with pytest.raises(SourceMissing) as refused:
        read_tables(shop)
    assert message in str(refused.value)


def test_a_file_is_imported_once_and_again_when_it_was_edited(shop):
    _write(shop, "source.py", "def read():", "calls = []\n\ndef read():\n    calls.append(1)")
    _write(shop, "source.py", "return {", "return {'calls': len(calls), ")
    read = load_file(shop.folder / "source.py", fix="").read
    assert [read()["calls"], load_file(shop.folder / "source.py", fix="").read()["calls"]] == [1, 2]
    _write(shop, "source.py", "[0, 1, 0]", "[1, 1, 1]")
    assert load_file(shop.folder / "source.py", fix="").read()["calls"] == 1


def test_a_file_that_failed_is_tried_again(shop):
    _write(shop, "source.py", "import pandas", "import os; os.environ['MISSING']\nimport pandas")
    for _ in range(2):
        with pytest.raises(SourceMissing, match="KeyError"):
            read_tables(shop)


def test_a_reader_that_is_not_there_is_named(shop):
    (shop.folder / "source.py").unlink()
    with pytest.raises(SourceMissing, match=r"source\.py is not there"):
        read_tables(shop)


def test_all_problems_are_told_at_once(shop):
    _write(shop, "source.py", '"known_time"', '"known"')
    with pytest.raises(SourceMissing, match=r"orders .*known_time.*visits .*known_time"):
        read_tables(shop)


def test_definitions_give_requests_and_views(shop):
    definitions, tables = load_definitions(shop), read_tables(shop)
    assert len(definitions.request(tables)) == 3
    assert list(definitions.views(tables, as_of=None)) == ["shop_visits", "town_mood"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def request", "def requests", "has no function 'request'"),
        ("size=1.0", "sise=1.0", "request has no column 'size', did you mean 'sise'"),
        ('"town_mood": moods', '"town_moods": moods', "no view 'town_mood', did you mean 'town_moods'"),
        ("heat=2.0", "heats=2.0", "view town_mood has no column 'heat', did you mean 'heats'"),
    ],
    ids=["function", "request column", "view", "view column"],
)
def test_what_definitions_lack_is_named(shop, old, new, message):
    _write(shop, "features.py", old, new)
    with pytest.raises(SourceMissing) as refused:
        _use(shop)
    assert message in str(refused.value)


def _use(spec):
    definitions, tables = load_definitions(spec), read_tables(spec)
    definitions.request(tables)
    definitions.views(tables, as_of=None)
