"""D10: what a trainer has to keep, and that what it does not keep is named."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from baton.core.errors import SpecInvalid
from baton.training.contract import ELSEWHERE, check_trainer
from baton.training.fit import fit as fit_of
from baton.training.generated import generated_rows, generated_spec
from baton.training.promises import promises

REFERENCE = Path(__file__).parents[2] / "docs/reference/trainers.md"

TEMPLATE = """
import os
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from baton.training.encoding import with_columns
from baton.training.parameters import checked_parameters

class Model(LogisticRegression):
    def fit(self, rows, labels):
        {fit}
        return super().fit(rows, labels)

class Trainer:
    tasks = ("binary",)
    def build(self, spec, *, threads):
        {build}
        return with_columns(spec, Model(**checked_parameters(spec, known=["C", "max_iter"], owned={{}})))

trainer = Trainer()

def shifted(spec):
    pipeline = with_columns(spec, Model())
    factor = float(np.random.default_rng().uniform(1, 2))
    pipeline.steps.insert(1, ("shift", FunctionTransformer(lambda rows: rows * factor)))
    return pipeline

class Changing(Pipeline):
    def fit(self, rows, labels):
        rows["load"].to_numpy()[:] = 0
        return super().fit(rows, labels)
"""


def write(folder, *, fit="pass", build="pass"):
    (folder / "mine.py").write_text(TEMPLATE.format(fit=fit, build=build))


def broken(folder, **lines):
    """Give each promise that a trainer breaks in this process, and what was seen."""
    write(folder, **lines)
    spec, rows = generated_spec("binary", trainer="mine.py:trainer", folder=folder), generated_rows("binary")
    looks = promises(spec, rows, fit_of(spec, rows, threads=1), None)
    return {check: wrong for check, look in looks.items() if (wrong := look())}


def test_the_example_of_the_reference_keeps_every_promise(tmp_path):
    text = re.search(r"```python\n(.*?)```", REFERENCE.read_text(), flags=re.DOTALL).group(1)
    (tmp_path / "extra.py").write_text(text)
    exported = []
    found = check_trainer(
        "extra.py:trees", folder=tmp_path, export=lambda fitted, rows, spec: exported.append(fitted.task)
    )
    assert [finding.line for finding in found if not finding.kept] == []
    assert exported == ["binary", "multiclass", "regression"]
    assert {finding.task for finding in found} == set(exported)
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(("#", '"'))]
    assert len(code) <= 20


def test_a_trainer_of_baton_keeps_every_promise(tmp_path):
    found = check_trainer("logistic", folder=tmp_path)
    assert all(finding.kept for finding in found)
    assert "ok     binary: is the same model in another process on 2 threads" in [finding.line for finding in found]


def test_chance_in_the_fit_is_named_as_the_step_fit_d10(tmp_path):
    wrong = broken(tmp_path, fit="rows = rows + np.random.default_rng().normal(size=rows.shape)")
    assert "the step 'fit' differs" in wrong["is the same model twice in a process"]


def test_what_differs_in_another_process_only_is_found_there_d10(tmp_path):
    write(tmp_path, fit="self.C = 1 / os.getpid()")
    wrong = {f.check: f.seen for f in check_trainer("mine.py:trainer", folder=tmp_path) if not f.kept}
    assert list(wrong) == [ELSEWHERE]
    assert "the step 'fit' differs" in wrong[ELSEWHERE]


def test_chance_that_decides_no_score_is_named_as_the_content_d10(tmp_path):
    wrong = broken(tmp_path, fit="self.when_ = os.urandom(8)")
    assert "the step 'content' differs: the scores agree" in wrong["is the same model twice in a process"]


def test_chance_in_the_encoders_is_named_as_the_step_encode_d10(tmp_path):
    wrong = broken(tmp_path, build="return shifted(spec)")
    assert "the step 'encode' differs" in wrong["is the same model twice in a process"]


def test_a_trainer_that_takes_any_parameter_is_told(tmp_path):
    wrong = broken(tmp_path, build="return with_columns(spec, Model())")
    assert wrong == {
        "refuses an unknown parameter": "'no_such_parameter' was taken without a word; see baton.training.parameters"
    }


def test_a_trainer_that_changes_its_input_is_told(tmp_path):
    wrong = broken(tmp_path, build="return Changing(with_columns(spec, Model()).steps)")
    assert wrong["leaves its input as it was"] == "the fit changes the rows that it is given"


def test_a_trainer_that_learns_nothing_is_told(tmp_path):
    assert broken(tmp_path, fit="rows = rows * 0")["learns more than a constant"] == "AUC 0.500 on fresh rows"


def test_a_trainer_that_raises_is_told_and_not_checked_further(tmp_path):
    write(tmp_path, fit="raise ValueError('no luck')")
    found = check_trainer("mine.py:trainer", folder=tmp_path)
    assert [finding.check for finding in found] == ["trains"]
    assert found[0].line.startswith("BROKEN binary: trains (the fit on 1200 rows failed: no luck.")


def test_an_export_and_another_process_that_fail_are_findings_with_their_reasons(tmp_path):
    def export(fitted, rows, spec):
        raise ValueError("no converter")

    write(tmp_path, build=f"if os.getpid() != {os.getpid()}: raise OSError('no luck there')")
    found = check_trainer("mine.py:trainer", folder=tmp_path, export=export)
    one, two = [finding.line for finding in found if not finding.kept]
    assert one == "BROKEN binary: can be exported (ValueError: no converter)"
    assert two.startswith(f"BROKEN binary: {ELSEWHERE} (RuntimeError: the other process failed: ")
    assert "no luck there" in two


def test_what_is_no_trainer_is_refused_and_not_checked(tmp_path):
    with pytest.raises(SpecInvalid, match="unknown trainer 'nothing'"):
        check_trainer("nothing", folder=tmp_path)


@pytest.mark.torch
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_network_keeps_every_promise(tmp_path):
    assert [finding.line for finding in check_trainer("mlp", folder=tmp_path) if not finding.kept] == []
