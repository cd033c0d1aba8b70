"""The bills of materials of a bundle: its software and its model, as CycloneDX 1.6.

Neither holds a time or a random number, so that the same model in the same
environment has the same bundle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from baton.core.bundle import Field
from baton.core.digest import canonical_json
from baton.core.errors import NotPromotable, listed
from baton.packaging.locked import PACKAGE, serving_packages
from baton.packaging.manifest import SBOM

if TYPE_CHECKING:
    from baton.packaging.reader import Contents

SPEC = "1.6"
# CycloneDX's names of what a model does.
TASKS = {"binary": "classification", "multiclass": "classification", "regression": "regression"}


def software_bom() -> bytes:
    """List what serves the model: every package with its version."""
    components = [
        {"type": "library", "name": name, "version": found, "purl": _purl(name, found), "bom-ref": _purl(name, found)}
        for name, found in serving_packages().items()
    ]
    own = version(PACKAGE)
    root = {"type": "application", "name": PACKAGE, "version": own, "bom-ref": _purl(PACKAGE, own)}
    depends = {"ref": root["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]}
    return _bom(root, components, dependencies=[depends])


def model_bom(
    *, model: str, model_digest: str, graph_digest: str, task: str, fields: Sequence[Field], facts: Mapping[str, Any]
) -> bytes:
    """Describe the model: what it takes and gives, the snapshot that it learned from, and how well it does.

    Args:
        model: The model's name.
        model_digest: Digest of the fitted pipeline.
        graph_digest: SHA-256 of the graph's file.
        task: What it predicts.
        fields: What it takes.
        facts: Where it comes from; `snapshot` and `metrics` are told where they are there.
    """
    snapshot = str(facts.get("snapshot", ""))
    data = [{"type": "data", "name": "snapshot", "version": snapshot, "bom-ref": f"snapshot:{snapshot}"}]
    metrics = facts.get("metrics") or {}
    card: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": TASKS[task],
            "inputs": [{"format": f"{field.name}: {field.kind}"} for field in fields],
            "outputs": [{"format": "score: number"}],
            **({"datasets": [{"ref": data[0]["bom-ref"]}]} if snapshot else {}),
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [{"type": name, "value": str(value)} for name, value in sorted(metrics.items())]
        },
    }
    root = {
        "type": "machine-learning-model",
        "name": model,
        "version": model_digest,
        "bom-ref": f"model:{model_digest}",
        "hashes": [{"alg": "SHA-256", "content": graph_digest}],
        "modelCard": card,
    }
    return _bom(root, data if snapshot else [])


def strange_packages(contents: Contents) -> tuple[str, ...]:
    """Say in which packages this environment differs from the one that sealed a bundle; nothing of an old bundle."""
    if SBOM not in contents.files:
        return ()
    sealed = {each["name"]: each["version"] for each in json.loads(contents.files[SBOM])["components"]}
    here = serving_packages()
    return tuple(
        f"{name} {here.get(name, 'missing')}, sealed with {sealed.get(name, 'none')}"
        for name in sorted(sealed.keys() | here.keys())
        if sealed.get(name) != here.get(name)
    )


def refuse_strange_packages(contents: Contents) -> None:
    """Refuse to promote what was sealed with other packages than would serve it.

    Raises:
        NotPromotable: A package differs, or is missing here or there.
    """
    strange = strange_packages(contents)
    if strange:
        raise NotPromotable(
            what=f"bundle {contents.bundle.digest[:12]} is not promotable",
            why=f"its bill of materials is of another environment: {listed(strange)}",
            fix="install what uv.lock says, or train again here",
        )


def _bom(root: Mapping[str, Any], components: Sequence[Mapping[str, Any]], **more: Any) -> bytes:
    head = {"bomFormat": "CycloneDX", "specVersion": SPEC, "version": 1, "metadata": {"component": root}}
    return canonical_json({**head, "components": components, **more})


def _purl(name: str, found: str) -> str:
    return f"pkg:pypi/{name}@{found}"
