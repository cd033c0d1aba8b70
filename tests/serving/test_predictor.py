"""A predictor is loaded from verified bytes and answers as the sealed model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from baton.core.digest import canonical_json
from baton.core.errors import IntegrityBroken, SourceMissing
from baton.packaging.manifest import write_manifest
from baton.packaging.reader import open_contents
from baton.packaging.seal import write_bundle
from baton.serving.predictor import load_predictor


def test_a_loaded_bundle_scores_as_the_pipeline(sealed, state, release):
    predictor = load_predictor(state, release(0), max_batch_rows=64)

    assert np.allclose(predictor.score(sealed.table), sealed.scores[sealed.bundles[0].digest], atol=1e-6)


def test_a_row_scores_the_same_alone_and_in_a_batch(sealed, state, release):
    predictor = load_predictor(state, release(0), max_batch_rows=64)

    together = predictor.score(sealed.table)

    alone = [predictor.score(sealed.table.part(at, at + 1))[0] for at in range(len(together))]
    assert np.array_equal(together, alone)


def test_a_bundle_whose_golden_answers_differ_is_refused(sealed, state, release):
    files = dict(open_contents(state / "bundles" / sealed.bundles[0].digest).files)
    golden = json.loads(files["golden.json"])
    golden["scores"][3] += 0.01
    files["golden.json"] = canonical_json(golden)
    digest = _write(state, files)

    with pytest.raises(IntegrityBroken, match=r"golden request 3 differs by 0\.01"):
        load_predictor(state, release(0, champion=digest), max_batch_rows=64)


def test_bytes_that_are_no_model_are_refused(sealed, state, release):
    files = dict(open_contents(state / "bundles" / sealed.bundles[0].digest).files)
    digest = _write(state, files | {"model.onnx": b"not a graph"})

    with pytest.raises(IntegrityBroken, match="no ONNX model"):
        load_predictor(state, release(0, champion=digest), max_batch_rows=64)


def test_another_models_bundle_is_refused(state, release):
    with pytest.raises(IntegrityBroken, match="it holds the model 'flights', expected 'taxis'"):
        load_predictor(state, replace(release(0), model="taxis"), max_batch_rows=64)


def test_a_bundle_that_is_not_there_is_said_to_be_missing(state, release):
    with pytest.raises(SourceMissing):
        load_predictor(state, release(0, champion="0" * 64), max_batch_rows=64)


def _write(state, files):
    manifest = write_manifest(model="flights", model_digest="0" * 64, contents=files)
    return write_bundle(state, {**files, "manifest.json": manifest}).name
