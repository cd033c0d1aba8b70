"""model.yaml says what a project is, and is told plainly where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from baton.core.errors import SpecInvalid
from baton.core.spec import ModelSpec, load_spec, spec_from

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"


@pytest.fixture
def content() -> dict[str, Any]:
    return yaml.safe_load((FLIGHTS / "model.yaml").read_text())


def change(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    *sections, key = place.split(".")
    inner = content
    for section in sections:
        inner = inner[section]
    inner[key] = value
    return content


def test_the_flights_have_29_features_from_8_views() -> None:
    spec = load_spec(FLIGHTS)
    assert len(spec.features.names) == 29
    assert len(spec.features.views) == 8
    assert spec.folder == FLIGHTS


def test_the_digest_follows_what_is_declared_and_not_how(content: dict[str, Any]) -> None:
    shuffled = dict(reversed(content.items()))
    assert spec_from(shuffled).digest == spec_from(content).digest
    assert spec_from(change(content, "seed", 7)).digest != load_spec(FLIGHTS).digest


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("gate.margn", 1, "unknown key 'gate.margn', did you mean 'margin'"),
        ("tranining", {}, "unknown key 'tranining', did you mean 'training'"),
        ("source.tables.weather.expectation", [], "did you mean 'expectations'"),
        ("features.views.origin_hourly.ttl", 3, "did you mean 'ttl_hours'"),
        ("gate.metric", "accuracy", "gate.metric"),
        ("label.table", "landings", "not among source.tables"),
        ("features.text", ["carier"], "names no feature: carier"),
        ("features.request", ["carrier", "carrier"], "features named twice: carrier"),
        ("drift.warn", 0.5, "above drift.alarm"),
        ("name", "../etc", "name"),
        ("source.reader", "source.py", "source.reader"),
        ("serving.port", 80, "serving.port"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_is_refused_by_name(content: dict[str, Any], place: str, value: Any, said: str) -> None:
    with pytest.raises(SpecInvalid) as refused:
        spec_from(change(content, place, value))
    assert said in str(refused.value)
    assert refused.value.exit_code == 2


def test_all_problems_are_told_at_once(content: dict[str, Any]) -> None:
    change(content, "gate.margn", 1)
    change(content, "serving.port", 80)
    with pytest.raises(SpecInvalid, match=r"margn.*port|port.*margn"):
        spec_from(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [flights\n", "line 2"),
        ("- a\n- b\n", "not a mapping"),
        ("", "not a mapping"),
        ("name: flights\nname2: \x00", "not valid YAML"),
    ],
    ids=["broken", "a list", "empty", "a control character"],
)
def test_a_broken_file_is_told_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(SpecInvalid, match=said):
        load_spec(tmp_path)


def test_a_folder_without_a_project_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecInvalid, match="no project file"):
        load_spec(tmp_path)


def test_every_key_has_a_meaning() -> None:
    def silent(schema: dict[str, Any]) -> list[str]:
        return [name for name, field in schema.get("properties", {}).items() if not field.get("description")]

    whole = ModelSpec.model_json_schema()
    assert {title: silent(part) for title, part in whole["$defs"].items() if silent(part)} == {}
    assert [name for name, field in ModelSpec.model_fields.items() if not field.description] == []
