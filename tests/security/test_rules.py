"""Rules that known holes in others' software have taught, held over the code and the lock file as they are."""

import ast
import itertools
import os
import pickle
import sys
import urllib.parse
from pathlib import Path

import pytest

from baton.core.errors import IntegrityBroken
from baton.packaging.floors import FLOORS, below_floor, running_versions
from baton.packaging.locked import locked_hashes, requirements, serving_packages
from baton.packaging.onnx_inspection import inspect_model
from baton.packaging.reader import bundle_path
from baton.settings import Settings, quiet_vendors

ROOT = Path(__file__).parents[2]
# What a service runs, and what hands it its files.
SERVED = ("serving", "packaging", "src/baton/core")
CODE_LOADERS = {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal", "skops", "jsonpickle"}
ARCHIVES = {"tarfile", "zipfile"}
# They make images out of wheels that the lock file names by hash, where images are made; no service imports them.
IMAGE_MAKERS = {"oci_layout.py", "wheelhouse.py"}
LOADING_CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "shutil.unpack_archive", "eval", "exec", "__import__"}


def calls_and_imports(folder):
    for file in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    yield from ((file.name, each.name) for each in names)
                case ast.ImportFrom(module=module):
                    yield file.name, module or ""
                case ast.Call(func=function):
                    yield file.name, ast.unparse(function)
                    if any(each.arg == "allow_pickle" for each in node.keywords):
                        yield file.name, "allow_pickle"


@pytest.mark.parametrize("folder", SERVED)
def test_nothing_that_a_service_runs_loads_code_from_files(folder):
    """R2, R9: models are graphs and JSON; there is no pickle and no archive."""
    forbidden = CODE_LOADERS | ARCHIVES
    found = {
        (file, name)
        for file, name in calls_and_imports(folder)
        if name.partition(".")[0] in forbidden or name in LOADING_CALLS or name.endswith("load_model")
    }
    made = {(file, name) for file, name in found if file in IMAGE_MAKERS and name.partition(".")[0] in ARCHIVES}
    assert {each for each in found - made if each[1] != "allow_pickle"} == set()
    assert not any(name == "allow_pickle" for _, name in found)


@pytest.mark.parametrize("folder", SERVED)
def test_nothing_that_a_service_runs_imports_what_makes_images(folder):
    """R9: what may open an archive is reached by the command that makes an image, and from nowhere else."""
    makers = {f"baton.packaging.{Path(name).stem}" for name in (*IMAGE_MAKERS, "serving_image.py")}
    importing = {file for file, name in calls_and_imports(folder) if name in makers}
    assert importing <= {"serving_image.py"}


class Payload:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("call", [os.system, Path.touch], ids=["a shell", "a function"])
def test_a_payload_in_the_place_of_a_graph_does_nothing(tmp_path, protocol, call):
    """R2: twelve payloads that would leave a file behind."""
    sentinel = tmp_path / "sentinel"
    argument = f"touch {sentinel}" if call is os.system else sentinel
    content = pickle.dumps(Payload(call, argument), protocol=protocol)

    with pytest.raises(IntegrityBroken):
        inspect_model(content, where="model.onnx")

    assert not sentinel.exists()


def test_no_locked_package_has_a_known_hole():
    """R1: the floors hold for what is locked, and one below is named with what it leaves open."""
    versions = running_versions()
    assert {"bentoml", "mlflow", "prefect", "onnx", "starlette"} <= versions.keys() & FLOORS.keys()
    assert below_floor(versions) == ()
    (said,) = below_floor({**versions, "onnx": "1.20.1"})
    assert said.startswith("onnx 1.20.1 is older than 1.21 (CVE-")


def test_every_package_that_serves_is_pinned_with_hashes():
    """R16: a wheel that differs is refused by pip."""
    blocks = requirements().decode().split("\n")
    pinned = [line for line in blocks if line and not line.startswith(" ")]
    assert [line.removesuffix(" \\").split("==")[0] for line in pinned] == list(serving_packages())
    assert all(line.endswith(" \\") for line in pinned), "a package has no hash"
    assert {"bentoml", "onnxruntime", "numpy", "cryptography"} <= set(serving_packages())
    assert "mlflow" not in serving_packages()


def test_a_tampered_lock_file_gives_the_tampered_hash_and_no_other():
    text = (ROOT / "uv.lock").read_text()
    name, version = "onnxruntime", serving_packages()["onnxruntime"]
    (first, *_) = locked_hashes(text)[name, version]
    changed = first[:-1] + ("0" if first[-1] != "0" else "1")
    assert changed in locked_hashes(text.replace(first, changed))[name, version]
    assert first not in locked_hashes(text.replace(first, changed))[name, version]


def spellings():
    """Write two ways out of a folder in every way that some server has understood."""
    ups = ["..", "%2e%2e", "%252e%252e", "..%00", "\uff0e\uff0e", "\\..", "..;", ".%2e", "%c0%ae%c0%ae", "..\x00"]
    slashes = ["/", "%2f", "%252f", "\\", "%5c", "\uff0f", "%c0%af", "//", "/./", "%00/"]
    targets = ["etc/passwd", "release.key"]
    made = [f"{up}{slash}" * 3 + target for up, slash, target in itertools.product(ups, slashes, targets)]
    return [*made, "/etc/passwd", "file:///etc/passwd", "C:\\x", "", ".", "..", "~", "a" * 300, "a\nb", "A" * 64]


def test_no_spelling_of_another_place_is_ever_a_path(tmp_path):
    """R6: 200 spellings, as they are and decoded, open no file."""
    assert len(spellings()) >= 200
    opened = []
    watching = [True]

    def watch(event, arguments):
        if watching[0] and event in {"open", "os.listdir", "os.scandir"}:
            opened.append(arguments[0])

    sys.addaudithook(watch)
    try:
        for text in spellings():
            for written in {text, urllib.parse.unquote(text), urllib.parse.unquote(urllib.parse.unquote(text))}:
                with pytest.raises(IntegrityBroken, match="is no digest"):
                    bundle_path(tmp_path / "bundles", written)
    finally:
        watching[0] = False
    assert [each for each in opened if "passwd" in str(each) or "release.key" in str(each)] == []
    assert bundle_path(tmp_path, "0" * 64) == tmp_path / ("0" * 64)


@pytest.mark.parametrize(
    "name",
    [
        "MLFLOW_DISABLE_TELEMETRY",
        "BENTOML_DO_NOT_TRACK",
        "GX_ANALYTICS_ENABLED",
        "PREFECT_SERVER_ANALYTICS_ENABLED",
        "DO_NOT_TRACK",
        "FEAST_USAGE",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
    ],
)
def test_no_vendor_calls_home_or_unpickles_unless_a_user_says_so(monkeypatch, tmp_path, name):
    """R17, R2: off by default, and what a user has set stays."""
    monkeypatch.delenv(name, raising=False)
    quiet_vendors(Settings(home=tmp_path))
    said = os.environ[name]
    assert said.lower() in ({"true", "1"} if name.endswith(("TELEMETRY", "TRACK")) else {"false"})
    monkeypatch.setenv(name, "mine")
    quiet_vendors(Settings(home=tmp_path))
    assert os.environ[name] == "mine"
