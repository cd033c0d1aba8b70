"""A training that runs out of memory, and one whose project is edited under it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

FIRST, SECOND = "2024-02-26", "2024-04-22"
# The limit is set when the fit begins, so that it is the fit that meets it.
GREEDY = """
import os
import resource

import lightgbm
import numpy as np

from baton.training import lightgbm_trainer
from baton.training.encoding import with_codes

SPARE = 48 << 20
DEEP = {"num_leaves": 4096, "min_child_samples": 1, "max_bin": 60000, "min_data_in_bin": 1, "n_estimators": 200}


# An estimator is exported by its name.
class LGBMClassifier(lightgbm.LGBMClassifier):
    def fit(self, *words, **named):
        if "EATS" in os.environ:
            pages = int(open("/proc/self/statm").read().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE, resource.RLIM_INFINITY))
        if os.environ.get("EATS") == "numpy":
            np.ones(1 << 28)
        if os.environ.get("EATS") == "lightgbm":
            self.set_params(**DEEP)
        return super().fit(*words, **named)


class Trainer:
    tasks = ("binary",)

    def build(self, spec, *, threads):
        fixed = {"random_state": spec.seed, "n_jobs": threads, "verbose": -1, "deterministic": True}
        return with_codes(spec, LGBMClassifier(n_estimators=30, num_leaves=7, min_child_samples=40, **fixed))

    def content(self, pipeline):
        return lightgbm_trainer.content(pipeline)


trainer = Trainer()
"""
LEFT = ("bundles", "trained", "training_rows", "evidence", "runs", "costs", "release.json")


@pytest.fixture
def project(make_parcels: Any, tmp_path: Path) -> Any:
    """The tiny project, to be edited, on a home of its own."""
    own = tmp_path / "project"
    shutil.copytree(Path(__file__).parents[1] / "cases" / "tiny", own, ignore=shutil.ignore_patterns("__pycache__"))
    return make_parcels(home=tmp_path / "home", project=own)


def edit(project: Any, before: str, after: str) -> None:
    file = project.project / "model.yaml"
    content = file.read_text()
    assert before in content
    file.write_text(content.replace(before, after))


def state(project: Any) -> dict[str, bytes]:
    """Give everything that a training leaves behind, by its path."""
    roots = [project.folder / name for name in LEFT]
    files = [file for root in roots for file in ([root] if root.is_file() else root.rglob("*")) if file.is_file()]
    return {str(file.relative_to(project.folder)): file.read_bytes() for file in files}


def versions(project: Any) -> list[str]:
    with closing(sqlite3.connect(project.folder / "mlflow" / "mlflow.db")) as database:
        return [str(row[0]) for row in database.execute("SELECT version FROM model_versions")]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process, and end what outlives it: Prefect's temporary server holds the pipes open."""
    code = process.wait(timeout=300)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return code, process.communicate()[1]


def test_a_fit_without_memory_fails_cleanly_and_the_next_one_is_as_ever(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D9: RLIMIT_AS, met by an array and by a library in C++; nothing is half there, and the cause is said."""
    (project.project / "greedy.py").write_text(GREEDY)
    edit(project, "trainer: lightgbm", "trainer: greedy.py:trainer")
    edit(project, "  parameters: {n_estimators: 30, num_leaves: 7, min_child_samples: 40}\n", "")
    project.ask("ingest", "--as-of", SECOND)
    project.ask("train", "--as-of", FIRST)
    before, ledger = state(project), project.ledger()
    monkeypatch.setenv("EATS", "numpy")
    code, err = ended(project.start("train", "--as-of", SECOND))
    assert code == 1, err
    (said,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "ran out of memory" in said
    assert "give it more memory" in said
    assert (state(project), project.ledger(), versions(project)) == (before, ledger, ["1"])
    # LightGBM does not look at every allocation, and takes the process along.
    monkeypatch.setenv("EATS", "lightgbm")
    code, err = ended(project.start("train", "--as-of", SECOND))
    assert code == 1 or code < 0, err
    assert (state(project), project.ledger(), versions(project)) == (before, ledger, ["1"])
    monkeypatch.delenv("EATS")
    second = project.ask_json("train", "--as-of", SECOND)
    assert (second["version"], second["decision"], second["epoch"]) == ("2", "PROMOTE", 2)
    assert "is whole" in project.ask("audit", "verify")


def test_a_run_keeps_the_project_file_that_it_began_with(project: Any, wait_until: Any) -> None:
    """D11: edited once the rows are frozen; the bundle names the configuration that it was made by."""
    from baton.core.spec import load_spec

    begun = load_spec(project.project)
    project.ask("ingest", "--as-of", FIRST)
    process = project.start("train", "--as-of", FIRST)
    wait_until(lambda: process.poll() is not None or any((project.folder / "snapshots").glob("*.parquet")), 120)
    edit(project, "n_estimators: 30", "n_estimators: 3")
    edit(project, "minimum_blocks: 10", "minimum_blocks: 400")
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err

    ((epoch, version, digest, _),) = project.ledger()
    assert (epoch, version) == (1, "1")
    facts = json.loads((project.folder / "bundles" / digest / "facts.json").read_bytes())
    assert facts["config"] == begun.digest
    assert facts["parameters"]["n_estimators"] == 30
    assert project.ask_json("why", "1")["policy"]["minimum_blocks"] == 10
    # The next run is another one, by the file as it is now.
    after = load_spec(project.project)
    assert after.digest != begun.digest
    edit(project, "minimum_blocks: 400", "minimum_blocks: 10")
    again = project.ask_json("train", "--as-of", FIRST)
    assert again["version"] == "2"
    assert [entry[0] for entry in project.ledger()] == [1]
