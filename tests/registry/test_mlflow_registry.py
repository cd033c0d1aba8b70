import json
import time
from pathlib import Path

import pytest

from baton.core.errors import DependencyDown, Misuse
from baton.registry.mlflow_registry import MlflowRegistry
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
    run = make_run(tags={"baton.question": "Will it be late?", "baton.commit": "0123abc+changes"})
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
    assert version.tags["baton.verdict"] == run.verdict.id
    assert version.tags["baton.bundle"] == run.bundle.digest
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
    assert states(client, experiment) == [("abandoned", "KILLED"), ("registered", "FINISHED")]


def states(client, experiment):
    return sorted((run.data.tags["baton.status"], run.info.status) for run in client.search_runs([experiment]))


STEPS = ["_log", "_create_version", "_ensure_model", "_settle"]


class TestOrphans:
    """A kill at any step of a registration, and what is made of the rest (C5)."""

    @pytest.fixture
    def dying(self, mlflow_on_file, make_run, monkeypatch):
        """Register runs that die before a step."""

        def die(step, key="1" * 64):
            with monkeypatch.context() as patch:
                patch.setattr(MlflowRegistry, step, lambda *_, **__: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    mlflow_on_file.register("parcels", make_run(key=key))
            return mlflow_on_file

        return die

    @pytest.mark.parametrize("step", STEPS)
    def test_the_next_run_of_the_key_ends_in_the_same_state(self, dying, make_run, step):
        registry = dying(step)
        assert registry.register("parcels", make_run()) == "1"
        client, experiment = registry._open()
        [*lost, last] = states(client, experiment)
        assert last == ("registered", "FINISHED")
        assert {state for state, _ in lost} <= {"abandoned"}
        assert [str(version.version) for version in client.search_model_versions("name = 'parcels'")] == ["1"]

    @pytest.mark.parametrize("step", STEPS[1:3])
    def test_a_key_that_never_comes_again_is_tagged(self, dying, step):
        registry = dying(step)
        client, experiment = registry._open()
        assert registry.abandon_orphans("parcels", known_keys={"1" * 64}) == ()
        assert states(client, experiment) == [("logging", "RUNNING")]
        assert registry.abandon_orphans("parcels") == ("1" * 64,)
        assert states(client, experiment) == [("abandoned", "KILLED")]
        assert {model.tags["baton.status"] for model in client.search_logged_models([experiment])} <= {"abandoned"}
        assert registry.abandon_orphans("parcels") == ()

    def test_a_run_that_had_become_a_version_is_closed(self, dying):
        registry = dying("_settle")
        client, experiment = registry._open()
        assert registry.abandon_orphans("parcels") == ()
        assert states(client, experiment) == [("registered", "FINISHED")]

    def test_of_two_versions_of_one_key_the_younger_is_tagged(self, dying, make_run, monkeypatch):
        registry = dying("_settle")
        with monkeypatch.context() as patch:
            patch.setattr(MlflowRegistry, "_versions", lambda *_, **__: [])
            patch.setattr(MlflowRegistry, "_abandon", lambda *_, **__: None)
            patch.setattr(MlflowRegistry, "_settle", lambda *_, version, **__: version)
            assert registry.register("parcels", make_run()) == "2"
        assert registry.abandon_orphans("parcels") == ("1" * 64,)
        assert registry.find("parcels", key="1" * 64) == "1"
        client, experiment = registry._open()
        tags = {str(v.version): v.tags.get("baton.status") for v in client.search_model_versions("name = 'parcels'")}
        assert tags == {"1": None, "2": "abandoned"}
        assert states(client, experiment) == [("abandoned", "KILLED"), ("registered", "FINISHED")]

    def test_what_others_log_is_left_alone(self, mlflow_on_file, make_run):
        mlflow_on_file.register("parcels", make_run())
        client, experiment = mlflow_on_file._open()
        client.create_run(experiment)
        client.create_model_version("parcels", source="file:///elsewhere", tags={"made": "by hand"})
        assert mlflow_on_file.abandon_orphans("parcels") == ()


HOSTILE = ["a\nb", "x' OR '1' = '1", "a/../../etc", "a%2f..", "UPPER", "", "x" * 65, "-rm", "naïve", "a\x00b"]


class TestOddNames:
    """C10: what is no name is refused before anything is asked of MLflow."""

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_model_of_an_odd_name_is_refused(self, mlflow_on_file, make_run, name):
        for attempt in (
            lambda: mlflow_on_file.find(name, key="1" * 64),
            lambda: mlflow_on_file.register(name, make_run()),
            lambda: mlflow_on_file.aliases(name),
            lambda: mlflow_on_file.read(name, "1"),
            lambda: mlflow_on_file.set_alias(name, "champion", "1"),
            lambda: mlflow_on_file.set_alias("parcels", name, "1"),
            lambda: mlflow_on_file.drop_alias("parcels", name),
            lambda: mlflow_on_file.tag("parcels", name, {"seen": "yes"}),
            lambda: mlflow_on_file.abandon_orphans(name),
        ):
            with pytest.raises(Misuse) as refused:
                attempt()
            assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("version", ["0", "-1", "1.0", "one", "", "9" * 40, "1\n", "1 OR 1"])
    def test_a_version_is_a_number(self, mlflow_on_file, version):
        with pytest.raises(Misuse):
            mlflow_on_file.read("parcels", version)

    def test_a_key_is_a_digest(self, mlflow_on_file, make_run):
        with pytest.raises(Misuse, match="run key"):
            mlflow_on_file.find("parcels", key="' OR name LIKE '%")
        with pytest.raises(Misuse, match="run key"):
            mlflow_on_file.register("parcels", make_run(key="1\n"))

    def test_a_megabyte_of_tag_is_one_bounded_line(self, mlflow_on_file, make_run):
        mlflow_on_file.register("parcels", make_run())
        mlflow_on_file.tag("parcels", "1", {"baton.refused": "no\n" * 300_000})
        found = mlflow_on_file.read("parcels", "1")
        assert len(found.tags["baton.refused"]) <= 500
        assert "\n" not in found.tags["baton.refused"]
        with pytest.raises(Misuse, match="tag"):
            mlflow_on_file.tag("parcels", "1", {"a\nb": "c"})

    def test_a_megabyte_of_description_and_odd_aliases_by_hand_are_passed_over(self, mlflow_on_file, make_run):
        mlflow_on_file.register("parcels", make_run())
        client, _ = mlflow_on_file._open()
        client.update_registered_model("parcels", "x" * 5_000)
        client.set_registered_model_alias("parcels", "Champion", "1")
        mlflow_on_file.set_alias("parcels", "champion", "1")
        assert mlflow_on_file.aliases("parcels") == {"champion": "1"}

    def test_a_renamed_model_has_no_versions_and_no_aliases(self, mlflow_on_file, make_run):
        mlflow_on_file.register("parcels", make_run())
        mlflow_on_file.set_alias("parcels", "champion", "1")
        client, _ = mlflow_on_file._open()
        client.rename_registered_model("parcels", "Somebody's name\nfor it")
        assert mlflow_on_file.aliases("parcels") == {}
        assert mlflow_on_file.read("parcels", "1") is None
        with pytest.raises(Misuse):
            mlflow_on_file.set_alias("parcels", "champion", "1")

    def test_a_version_whose_tags_were_removed_is_not_ours(self, mlflow_on_file, make_run):
        mlflow_on_file.register("parcels", make_run())
        client, _ = mlflow_on_file._open()
        client.delete_model_version_tag("parcels", "1", "baton.key")
        assert mlflow_on_file.find("parcels", key="1" * 64) is None
        assert mlflow_on_file.read("parcels", "1") is not None

    def test_c7_the_alias_of_a_deleted_version_is_gone(self, mlflow_on_file, make_run):
        mlflow_on_file.register("parcels", make_run())
        mlflow_on_file.set_alias("parcels", "champion", "1")
        client, _ = mlflow_on_file._open()
        client.delete_model_version("parcels", "1")
        assert mlflow_on_file.aliases("parcels") == {}
        assert mlflow_on_file.read("parcels", "1") is None


def test_of_two_workers_with_one_key_the_older_version_stays(mlflow_on_file, make_run, monkeypatch):
    mlflow_on_file.register("parcels", make_run())
    real, answers = MlflowRegistry._versions, iter([[]])
    # The other worker has registered it since this one looked.
    monkeypatch.setattr(MlflowRegistry, "_versions", lambda *a, **k: next(answers, real(*a, **k)))
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


@pytest.mark.parametrize(
    "uri",
    ["postgresql+psycopg://ann:secret@127.0.0.1:9/mlflow", "postgresql+psycopg://ann:secret@/m?host=/nowhere"],
    ids=["no port", "no socket"],
)
def test_c2_a_database_that_is_not_there_is_down_within_seconds(uri):
    registry = MlflowRegistry(tracking_uri=uri, artifact_root="s3://bucket/folder", experiment="parcels")
    begun = time.monotonic()
    with pytest.raises(DependencyDown) as down:
        registry.aliases("parcels")
    assert time.monotonic() - begun < 7
    assert "secret" not in str(down.value)


def test_a_database_without_its_driver_says_what_to_install():
    registry = MlflowRegistry(
        tracking_uri="postgresql+pg8000://127.0.0.1:9/m", artifact_root=None, experiment="parcels"
    )
    with pytest.raises(Misuse, match=r"postgresql\+psycopg"):
        registry.prepare()


def test_evaluation_and_verdict_are_logged_as_json(mlflow_on_file, make_run, tmp_path):
    mlflow_on_file.register("parcels", make_run())
    client, experiment = mlflow_on_file._open()
    [run] = client.search_runs([experiment])
    local = Path(client.download_artifacts(run.info.run_id, "evaluation.json", str(tmp_path)))
    assert json.loads(local.read_text())["metrics"]["auc"] == {"standard_error": None, "value": 0.78}
