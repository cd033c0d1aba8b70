"""Sealing gives a folder named by its content, and the same one every time."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest

from baton.core.errors import Misuse, ParityFailed
from baton.packaging.reader import open_bundle, open_contents
from baton.packaging.rows import rows_from_frame
from baton.packaging.scorer import Scorer
from baton.packaging.seal import seal

SEAL_ELSEWHERE = """
import sys, joblib
from pathlib import Path
from baton.packaging.seal import seal
print(seal(Path(sys.argv[2]), **joblib.load(sys.argv[1])).digest)
"""


@pytest.fixture
def material(trees, fields, holdout, reference):
    return {
        "model": "flights",
        "pipeline": trees,
        "model_digest": "ab" * 32,
        "fields": fields,
        "profile": reference,
        "holdout": holdout,
        "golden": holdout.iloc[:20],
        "facts": {"snapshot": "cd" * 32, "auc": 0.74},
    }


def test_the_folder_is_named_by_the_digest_and_opens(material, tmp_path):
    bundle = seal(tmp_path, **material)

    assert bundle.path == tmp_path / "bundles" / bundle.digest
    assert open_bundle(bundle.path) == bundle
    assert (bundle.model, bundle.model_digest, bundle.fields) == ("flights", "ab" * 32, material["fields"])


def test_sealing_twice_in_two_processes_gives_one_digest(material, tmp_path):
    joblib.dump(material, tmp_path / "material")
    command = [sys.executable, "-c", SEAL_ELSEWHERE, str(tmp_path / "material"), str(tmp_path / "there")]

    here = seal(tmp_path / "here", **material).digest
    there = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert here == there


def test_sealing_at_the_same_time_leaves_one_whole_bundle(material, tmp_path):
    with ThreadPoolExecutor(4) as threads:
        digests = {each.digest for each in threads.map(lambda _: seal(tmp_path, **material), range(4))}

    assert [entry.name for entry in (tmp_path / "bundles").iterdir()] == list(digests)


def test_another_fact_is_another_bundle(material, tmp_path):
    first = seal(tmp_path, **material)
    second = seal(tmp_path, **material | {"facts": {"auc": 0.75}})

    assert first.digest != second.digest


def test_golden_requests_carry_their_answers(material, tmp_path):
    contents = open_contents(seal(tmp_path, **material).path)

    expected = Scorer(contents.files["model.onnx"]).score(rows_from_frame(material["golden"], material["fields"]))
    assert np.array_equal(contents.golden.scores, expected)
    first, row = contents.golden.rows[0], material["golden"].iloc[0]
    assert first["carrier"] == row["carrier"]
    assert first["distance"] == row["distance"]
    assert any(row["wind"] is None for row in contents.golden.rows)


def test_the_parity_proof_is_in_the_bundle(material, tmp_path):
    parity = json.loads(open_contents(seal(tmp_path, **material).path).files["parity.json"])

    assert parity["rows"] == len(material["holdout"])
    assert parity["difference"] <= parity["tolerance"]


def test_a_model_that_cannot_be_exported_leaves_nothing(material, tmp_path):
    with pytest.raises(ParityFailed):
        seal(tmp_path, **material | {"pipeline": material["pipeline"].steps[1][1]})

    assert list(tmp_path.iterdir()) == []


def test_too_few_golden_rows_are_refused(material, tmp_path):
    with pytest.raises(Misuse, match="15 golden rows"):
        seal(tmp_path, **material | {"golden": material["holdout"].iloc[:15]})
