"""The layout holds: every stage is linked, no folder shadows a vendor, and imports point one way."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = ("features", "validation", "training", "registry", "packaging", "serving", "monitoring", "flows")


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_is_a_root_folder_linked_into_the_package(stage: str) -> None:
    link = ROOT / "src" / "baton" / stage
    assert link.is_symlink()
    assert link.readlink() == Path("../..") / stage
    assert (ROOT / stage / "README.md").is_file()


def test_packaging_and_tests_are_no_packages_of_their_own() -> None:
    assert not (ROOT / "packaging" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "packaging"])
def test_a_stage_says_what_comes_in_and_out_and_runs_nothing_on_import(stage: str) -> None:
    import ast

    (statement,) = ast.parse((ROOT / stage / "__init__.py").read_text()).body
    assert isinstance(statement, ast.Expr)


def test_import_packaging_from_the_root_is_pypis() -> None:
    done = run(sys.executable, "-c", "import packaging.version; print(packaging.__file__)")
    assert "site-packages" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "prefect", "version"],
        [sys.executable, "-m", "mlflow", "--version"],
        [str(Path(sys.executable).parent / "bentoml"), "--version"],
    ],
    ids=["prefect", "mlflow", "bentoml"],
)
def test_vendors_start_from_the_root(command: list[str]) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.parametrize(
    "module",
    ["cli.main", "core.spec", "features.landing", "training.fit", "registry.gate", "packaging.reader", "serving.app"],
)
def test_importing_baton_imports_no_slow_vendor(module: str) -> None:
    code = (
        f"import sys, baton.{module}; "
        "vendors = {'mlflow', 'prefect', 'feast', 'great_expectations', 'evidently', 'bentoml', 'onnx'}; "
        "slow = vendors & set(sys.modules); "
        "assert not slow, slow"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr[-500:]


def test_a_wheel_holds_real_files_under_baton_and_no_top_level_packaging(tmp_path: Path) -> None:
    uv = next((str(p) for p in (ROOT / ".tools/uv/bin/uv",) if p.exists()), "uv")
    done = run(uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(ROOT))
    assert done.returncode == 0, done.stderr[-500:]
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for stage in STAGES:
        assert any(name.startswith(f"baton/{stage}/") and name.endswith(".py") for name in names), stage
    assert not any(name.startswith("packaging/") for name in names)


def test_every_module_stays_small_enough_to_hold() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in (*STAGES, "src/baton/core", "src/baton/cli")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 320
    }
    assert not long
