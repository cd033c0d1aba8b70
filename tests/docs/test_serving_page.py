"""The page of the service names every setting and every route."""

from __future__ import annotations

from pathlib import Path

import pytest

from baton.serving.app import create_app
from baton.serving.serving_settings import PREFIX, ServingSettings, settings_from_environment

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "serving.md").read_text()
SETTINGS = [f"`{PREFIX}{name.upper()}`" for name in ServingSettings.model_fields]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_there(setting: str) -> None:
    assert f"| {setting} |" in PAGE


def test_nothing_is_there_that_is_no_setting() -> None:
    named = {line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith(f"| `{PREFIX}")}
    assert named == set(SETTINGS)


def test_every_route_is_there() -> None:
    routes = [str(getattr(route, "path", "")) for route in create_app(settings_from_environment).routes]
    missing = [path for path in routes if f"`{path}`" not in PAGE and f" {path}`" not in PAGE and not _with_ready(path)]
    assert not missing


def _with_ready(path: str) -> bool:
    """Whether the page says "each with `/ready`" of it."""
    return path.endswith("/ready") and f"{path.removesuffix('/ready')}`" in PAGE
