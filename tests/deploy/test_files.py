"""What deploy/ ships fits what the code does."""

from __future__ import annotations

import configparser
from pathlib import Path

import yaml
from typer.testing import CliRunner

from baton.cli.main import app
from baton.core.spec import load_spec

ROOT = Path(__file__).parents[2]


def test_prometheus_scrapes_the_port_that_the_project_declares() -> None:
    (job,) = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    port = load_spec(ROOT / "examples" / "flights").serving.port
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert 'Route("/metrics"' in (ROOT / "serving" / "app.py").read_text()


def test_the_unit_starts_a_command_that_there_is() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read(ROOT / "deploy" / "baton.service")
    _, command, option, project = unit["Service"]["ExecStart"].split()
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert option in done.output
    assert (ROOT / Path(project).relative_to("/srv/baton")).is_dir()
