"""Bills of materials are CycloneDX, say what is true, and hold back what they do not fit."""

import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from baton.core.digest import digest_of_bytes
from baton.core.errors import NotPromotable
from baton.packaging.bom import refuse_strange_packages, strange_packages
from baton.packaging.locked import serving_packages
from baton.packaging.reader import open_contents
from baton.packaging.seal import seal


@pytest.fixture(scope="module")
def contents(tmp_path_factory, linear, fields, holdout, reference):
    bundle = seal(
        tmp_path_factory.mktemp("state"),
        model="flights",
        pipeline=linear,
        model_digest="ab" * 32,
        fields=fields,
        profile=reference,
        holdout=holdout,
        golden=holdout.iloc[:16],
        facts={"snapshot": "cd" * 32, "metrics": {"auc": 0.74}},
    )
    return open_contents(bundle.path)


@pytest.mark.parametrize("name", ["sbom.cdx.json", "mlbom.cdx.json"])
def test_both_follow_the_schema_of_cyclonedx(contents, name):
    """R16: strictly, as other tools read them."""
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(contents.files[name].decode())
    assert errors is None


def test_the_software_is_what_is_installed(contents):
    listed = json.loads(contents.files["sbom.cdx.json"])["components"]
    assert {each["name"]: each["version"] for each in listed} == serving_packages()


def test_the_model_is_named_by_its_graph_and_its_snapshot(contents):
    bom = json.loads(contents.files["mlbom.cdx.json"])
    model = bom["metadata"]["component"]
    assert model["hashes"][0]["content"] == digest_of_bytes(contents.files["model.onnx"])
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": f"snapshot:{'cd' * 32}"}]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "auc", "value": "0.74"}]


def test_another_environment_is_not_promoted_with_its_reason(contents):
    """I9: a version that differs, a package too many, one too few; an old bundle has no bill and is not asked."""
    assert strange_packages(contents) == ()
    refuse_strange_packages(contents)
    bom = json.loads(contents.files["sbom.cdx.json"])
    (first, second, *rest) = bom["components"]
    changed = {**bom, "components": [{**first, "version": "0.0.1"}, *rest, {**second, "name": "zzz"}]}
    other = replace(contents, files={**contents.files, "sbom.cdx.json": json.dumps(changed).encode()})

    with pytest.raises(NotPromotable, match=rf"{first['name']} .*, sealed with 0.0.1, .*sealed with none, zzz missing"):
        refuse_strange_packages(other)

    older = replace(contents, files={k: v for k, v in contents.files.items() if k != "sbom.cdx.json"})
    assert strange_packages(older) == ()


def test_the_card_tells_a_person_what_it_is(contents):
    card = contents.files["card.md"].decode()
    assert card.startswith("# flights\n\nA binary model")
    assert "- auc: 0.74" in card
    assert "it calls no row another class" in card
