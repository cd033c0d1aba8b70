import json
import time
from pathlib import Path

import pytest

from baton.core.errors import DependencyDown, Misuse
from baton.registry.mlflow_registry import MlflowRegistry
from baton.registry.model_card import LONGEST, model_card
from baton.testing.registry import MemoryRegistry


@pytest.fixture(params=["memory", "mlflow"])
def registry(request):
    return MemoryRegistry() if request.param == "memory" else request.getfixturevalue("mlflow_on_file")


class TestContract:
    """What every registry promises."""

    def test_an_unknown_model_has_no_version_and_no_alias(self, registry):
        assert registry.find("parcels", key="1" * 64) is None
        assert registry.aliases("parcels") == {}

    def test_the_same_key_makes_no_second_version(self, registry, make_run):
        assert registry.register("parcels", make_run()) == "1"
        assert registry.register("parcels", make_run()) == "1"
        assert registry.register("parcels", make_run(key="2" * 64)) == "2"
        assert registry.find("parcels", key="1" * 64) == "1"
        assert registry.find("parcels", key="2" * 64) == "2"

    def test_models_have_versions_of_their_own(self, registry, make_run):
        registry.register("parcels", make_run())
        assert registry.find("letters", key="1" * 64) is None
        assert registry.register("letters", make_run()) == "1"

    def test_an_alias_moves(self, registry, make_run):
        for key in "12":
            registry.register("parcels", make_run(key=key * 64))
        registry.set_alias("parcels", "champion", "1")
        registry.set_alias("parcels", "champion", "2")
        registry.set_alias("parcels", "previous", "1")
        assert registry.aliases("parcels") == {"champion": "2", "previous": "1"}

    def test_a_version_that_is_not_there_takes_no_alias_and_no_tag(self, registry, make_run):
        registry.register("parcels", make_run())
        with pytest.raises(Misuse):
            registry.set_alias("parcels", "champion", "9")
        with pytest.raises(Misuse):
            registry.tag("parcels", "9", {"seen": "yes"})
        registry.tag("parcels", "1", {"seen": "yes"})


def check_pages(registry, make_run):
    """Register a run and read back everything that the pages of run and version show."""
    begun = time.process_time()
    run = make_run()
    registry.register("parcels", run)
    took = time.process_time() - begun
    client, experiment = registry._open()
    [logged] = client.search_runs([experiment])
    version = client.get_model_version("parcels", "1")
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["log_loss"] == 0.44
    assert logged.data.metrics["log_loss_standard_error"] == 0.01
    assert logged.data.metrics["gain_low"] > 0
    assert "auc_standard_error" not in logged.data.metrics
    assert logged.data.params == {"n_estimators": "30", "metric": "auc", "nested": '{"a": 1}'}
    assert logged.data.tags["baton.key"] == run.key
    assert logged.data.tags["baton.status"] == "registered"
    assert logged.data.tags["mlflow.source.git.commit"] == "0123abc"
    assert logged.inputs.dataset_inputs[0].dataset.digest == "b" * 36
    assert {file.path for file in client.list_artifacts(logged.info.run_id)} >= {"verdict.json", "evaluation.json"}
    assert [file.path for file in client.list_artifacts(logged.info.run_id, "figures")] == ["figures/gain.png"]
    assert version.tags["baton.decision"] == "PROMOTE"
    assert "Will it be late?" in version.description
    assert version.run_id == logged.info.run_id
    assert client.get_registered_model("parcels").description.startswith("Will it be late?")
    return took, client, version


def check_model(client, version, folder):
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    local = Path(download_artifacts(version.source, dst_path=str(folder), tracking_uri=client.tracking_uri))
    signature = Model.load(str(local / "MLmodel")).signature
    assert [(c.name, c.type.name, c.required) for c in signature.inputs] == [
        ("depot", "string", True),
        ("weight", "double", False),
    ]
    assert (local / "bundle" / "model.onnx").read_bytes() == b"\x08\x08"
    assert not list(local.rglob("*.pkl"))


def test_a_registered_run_shows_what_was_measured(mlflow_on_file, make_run, tmp_path):
    mlflow_on_file.prepare()
    took, client, version = check_pages(mlflow_on_file, make_run)
    check_model(client, version, tmp_path / "copy")
    assert took < 2.5


def test_a_server_shows_the_same_and_is_missed_within_seconds(mlflow_server, make_run, tmp_path):

    address, stop = mlflow_server
    registry = MlflowRegistry(tracking_uri=address, artifact_root=None, experiment="parcels")
    _, client, version = check_pages(registry, make_run)
    check_model(client, version, tmp_path / "copy")
    registry.set_alias("parcels", "champion", "1")
    assert registry.aliases("parcels") == {"champion": "1"}
    assert registry.register("parcels", make_run()) == "1"
    with pytest.raises(Misuse):
        registry.set_alias("parcels", "champion", "9")
    stop()
    begun = time.monotonic()
    with pytest.raises(DependencyDown, match="MLflow at http"):
        registry.find("parcels", key="1" * 64)
    assert time.monotonic() - begun < 10


def test_a_run_that_died_is_tagged_as_abandoned_and_logged_anew(mlflow_on_file, make_run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(MlflowRegistry, "_create_version", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            mlflow_on_file.register("parcels", make_run())
    assert mlflow_on_file.register("parcels", make_run()) == "1"
    client, experiment = mlflow_on_file._open()
    states = sorted((run.data.tags["baton.status"], run.info.status) for run in client.search_runs([experiment]))
    assert states == [("abandoned", "KILLED"), ("registered", "FINISHED")]


def test_of_two_workers_with_one_key_the_older_version_stays(mlflow_on_file, make_run, monkeypatch):
    mlflow_on_file.register("parcels", make_run())
    real, answers = MlflowRegistry.find, iter([None])
    monkeypatch.setattr(MlflowRegistry, "find", lambda *a, **k: next(answers, real(*a, **k)))
    assert mlflow_on_file.register("parcels", make_run()) == "1"
    client, _ = mlflow_on_file._open()
    assert [str(version.version) for version in client.search_model_versions("name = 'parcels'")] == ["1"]


def test_a_server_that_never_was_is_down(make_run):
    registry = MlflowRegistry(tracking_uri="http://127.0.0.1:9", artifact_root=None, experiment="parcels")
    begun = time.monotonic()
    with pytest.raises(DependencyDown):
        registry.register("parcels", make_run())
    assert time.monotonic() - begun < 10


def test_a_file_of_something_else_is_down(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"not a database, but long enough to look like one" * 100)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(DependencyDown):
        MlflowRegistry(tracking_uri=uri, artifact_root=tmp_path, experiment="parcels").aliases("parcels")


def test_the_card_holds_the_measured_facts_and_nothing_else(make_run):
    card = model_card(make_run())
    assert "### Verdict: PROMOTE" in card
    assert "| log loss&emsp; | 0.4400 (0.0100)&emsp; | 0.5500 |" in card
    assert "| auc&emsp; | 0.7800&emsp; | 0.5000 |" in card
    assert "| depot = a/b&emsp; | 900&emsp; | 0.4000 (0.0200) |" in card
    assert "nan" not in card.lower().replace("finance", "")


def test_a_long_card_is_cut_to_what_mlflow_keeps(make_run):
    assert len(model_card(make_run(name="x" * 9_000, tags={}))) == LONGEST


def test_evaluation_and_verdict_are_logged_as_json(mlflow_on_file, make_run, tmp_path):
    mlflow_on_file.register("parcels", make_run())
    client, experiment = mlflow_on_file._open()
    [run] = client.search_runs([experiment])
    local = Path(client.download_artifacts(run.info.run_id, "evaluation.json", str(tmp_path)))
    assert json.loads(local.read_text())["metrics"]["auc"] == {"standard_error": None, "value": 0.78}
