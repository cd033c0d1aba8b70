import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import baton.training.trainer as trainers
from baton.core.errors import SourceMissing, SpecInvalid, TrainingFailed
from baton.training.fit import fit
from baton.training.generated import generated_rows, generated_spec
from baton.training.trainer import BUILT_IN, GROUP, trainer_code, trainer_names, trainer_of

REFERENCE = Path(__file__).parents[2] / "docs/reference/trainers.md"
PLAIN = """
from sklearn.linear_model import LogisticRegression
from baton.training.encoding import with_columns

class Plain:
    tasks = ("binary",)
    def build(self, spec, *, threads):
        return with_columns(spec, LogisticRegression())

plain = Plain()
"""


def spec_of(folder, trainer, task="binary"):
    return generated_spec(task, trainer=trainer, folder=folder)


@pytest.fixture
def offered(monkeypatch):
    """Pretend that packages offer trainers."""

    def offer(**values):
        points = [EntryPoint(name=name, value=value, group=GROUP) for name, value in values.items()]
        monkeypatch.setattr(trainers, "entry_points", lambda *, group: points if group == GROUP else [])

    return offer


def test_every_built_in_trainer_is_listed_in_the_reference():
    listed = re.findall(r"^\| `(\w+)` \|", REFERENCE.read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(BUILT_IN) == trainer_names()


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_built_in_trainer_is_found_and_says_what_it_learns(name, tmp_path):
    assert "binary" in trainer_of(spec_of(tmp_path, name)).tasks
    assert BUILT_IN[name] in trainer_code(spec_of(tmp_path, name))


def test_a_package_offers_a_trainer_by_an_entry_point(offered, tmp_path):
    offered(ours="baton.training.linear_trainer")
    assert trainer_of(spec_of(tmp_path, "ours")).tasks == ("binary", "multiclass", "regression")
    assert "ours" in trainer_names()


def test_a_trainer_that_is_offered_twice_is_ambiguous(offered, tmp_path):
    offered(lightgbm="somebody.elses:trees")
    with pytest.raises(SpecInvalid, match=r"'lightgbm' is ambiguous: .*somebody\.elses:trees"):
        trainer_of(spec_of(tmp_path, "lightgbm"))


def test_the_same_trainer_offered_again_is_no_other(offered, tmp_path):
    offered(lightgbm=BUILT_IN["lightgbm"])
    assert trainer_of(spec_of(tmp_path, "lightgbm"))


def test_a_trainer_whose_package_is_broken_says_where_it_looked(offered, tmp_path):
    offered(ours="not_installed_anywhere:trainer")
    with pytest.raises(SourceMissing, match="not_installed_anywhere:trainer: No module named"):
        trainer_of(spec_of(tmp_path, "ours"))


def test_a_file_beside_the_project_is_a_trainer(tmp_path):
    (tmp_path / "mine.py").write_text(PLAIN)
    spec = spec_of(tmp_path, "mine.py:plain")
    assert fit(spec, generated_rows("binary"), threads=1).rows == 1_200


def test_an_edited_file_is_another_trainer(tmp_path):
    (tmp_path / "mine.py").write_text(PLAIN)
    spec = spec_of(tmp_path, "mine.py:plain")
    before = trainer_code(spec), fit(spec, generated_rows("binary"), threads=1).digest
    (tmp_path / "mine.py").write_text(PLAIN.replace("LogisticRegression()", "LogisticRegression(C=0.01)"))
    assert trainer_code(spec) != before[0]
    assert fit(spec, generated_rows("binary"), threads=1).digest != before[1]


def test_a_file_of_any_name_shadows_no_module(tmp_path):
    (tmp_path / "json.py").write_text(PLAIN)
    (tmp_path / "numpy.py").write_text("raise RuntimeError('imported by accident')")
    path = list(sys.path)
    assert trainer_of(spec_of(tmp_path, "json.py:plain")).tasks == ("binary",)
    assert sys.path == path
    assert str(tmp_path) not in str(sys.modules["json"].__file__)


@pytest.mark.parametrize(
    ("text", "name", "kind", "message"),
    [
        (PLAIN, "missing.py:plain", SourceMissing, "missing.py is not there"),
        (PLAIN, "mine.py:plane", SourceMissing, "did you mean 'plain'"),
        ("import not_there", "mine.py:plain", SourceMissing, r"mine\.py failed: ModuleNotFoundError"),
        ("x = (", "mine.py:plain", SourceMissing, r"mine\.py failed: SyntaxError"),
        ("plain = 3", "mine.py:plain", SpecInvalid, "it has no function build.*, it has no tasks"),
        (PLAIN.replace('("binary",)', '("ranking",)'), "mine.py:plain", SpecInvalid, "its tasks name ranking"),
        (PLAIN.replace('("binary",)', '"binary"'), "mine.py:plain", SpecInvalid, "it has no tasks, a tuple"),
        (PLAIN.replace('"binary"', '"regression"'), "mine.py:plain", SpecInvalid, "does not learn binary"),
    ],
    ids=["no file", "no name", "no package", "broken", "no trainer", "strange task", "one text", "other task"],
)
def test_a_file_that_is_no_trainer_says_what_is_wrong(text, name, kind, message, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(kind, match=message):
        trainer_of(spec_of(tmp_path, name))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("with_columns(spec, LogisticRegression())", "1 / 0", "cannot build its pipeline: ZeroDivisionError"),
        ("LogisticRegression())", "LogisticRegression(C=-1))", "the fit on 1200 rows failed"),
        ("with_columns(spec, LogisticRegression())", "Late()", "cannot answer 1000 rows: predict_proba: .*NotImpl"),
    ],
    ids=["in build", "in fit", "in predict"],
)
def test_whatever_a_trainer_raises_is_a_failed_training_with_its_cause(old, new, message, tmp_path):
    late = """
class Late:
    classes_ = (0, 1)
    def fit(self, rows, labels): return self
    def predict_proba(self, rows): raise NotImplementedError
"""
    (tmp_path / "mine.py").write_text(late + PLAIN.replace(old, new))
    with pytest.raises(TrainingFailed, match=message):
        fit(spec_of(tmp_path, "mine.py:plain"), generated_rows("binary"), threads=1)


def test_a_trainer_without_its_extra_names_it(tmp_path, monkeypatch):
    from baton.training import torch_trainer

    monkeypatch.setattr(torch_trainer, "find_spec", lambda _: None)
    with pytest.raises(
        SourceMissing, match=r"PyTorch is not installed. Install the extra: pip install 'baton\[torch\]'"
    ):
        fit(spec_of(tmp_path, "mlp"), generated_rows("binary"), threads=1)
