"""What somebody may do to a sealed bundle's folder, one way after the other.

Each attack is a copy of a sealed bundle, as its attacker would leave it; a
reader has to refuse every one. Used by tests and by `make bench-tamper`.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from baton.core.digest import canonical_json, digest_of_bytes
from baton.packaging.manifest import MANIFEST, MODEL, write_manifest
from baton.packaging.seal import write_bundle
from baton.packaging.signature import SIGNATURE, SIGNERS
from baton.packaging.signing_key import revoke, signers

Edit = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One tampered bundle, and what kind of tampering it is."""

    kind: str
    path: Path


def copied(sealed: Path, target: Path) -> Path:
    """Copy a bundle with whom its installation trusts, but without the key; give the copied folder."""
    shutil.copytree(sealed.parents[1] / SIGNERS, target / SIGNERS)
    return Path(shutil.copytree(sealed, target / "bundles" / sealed.name))


def bit_flips(sealed: Path, scratch: Path, *, count: int, seed: int) -> Iterator[Attack]:
    """Flip single bits, spread evenly over all bytes of the folder; one copy is mended after each."""
    rng = np.random.default_rng(seed)
    bundle = copied(sealed, scratch / "flips")
    files = sorted(bundle.iterdir())
    ends = np.cumsum([file.stat().st_size for file in files])
    for position in rng.integers(0, ends[-1], size=count):
        at = int(np.searchsorted(ends, position, side="right"))
        file, before = files[at], files[at].read_bytes()
        content = bytearray(before)
        content[int(position) - (int(ends[at - 1]) if at else 0)] ^= 1 << int(rng.integers(8))
        file.write_bytes(content)
        yield Attack(kind="one bit flipped", path=bundle)
        file.write_bytes(before)


def rehashed(sealed: Path, scratch: Path) -> Iterator[Attack]:
    """Change a file and write manifest and folder name anew, so that every hash fits; the signature is the old one."""
    names = sorted(file.name for file in sealed.iterdir() if file.name not in {MANIFEST, SIGNATURE})
    for name in names:
        bundle = copied(sealed, scratch / f"rehashed-{name}")
        (bundle / name).write_bytes((bundle / name).read_bytes() + b"\n")
        yield Attack(kind="manifest written anew", path=_renamed(bundle, _manifest(bundle)))


def signers_changed(sealed: Path, scratch: Path) -> Iterator[Attack]:
    """Sign with nobody's key, with another's, a revoked one, none, and with a signature of other files."""
    bundle = copied(sealed, scratch / "unsigned")
    (bundle / SIGNATURE).unlink()
    yield Attack(kind="signature missing", path=bundle)
    bundle = copied(sealed, scratch / "wrong")
    files = {file.name: file.read_bytes() for file in bundle.iterdir() if file.name != SIGNATURE}
    other = write_bundle(scratch / "stranger", files)
    shutil.copy(other / SIGNATURE, bundle / SIGNATURE)
    yield Attack(kind="signed by a stranger", path=bundle)
    bundle = copied(sealed, scratch / "claimed")
    signed = json.loads((other / SIGNATURE).read_bytes())
    mine = json.loads((bundle / SIGNATURE).read_bytes())
    signed["verificationMaterial"] = mine["verificationMaterial"]
    (bundle / SIGNATURE).write_bytes(json.dumps(signed).encode())
    yield Attack(kind="signed by a stranger in another's name", path=bundle)
    bundle = copied(sealed, scratch / "revoked")
    for each in signers(scratch / "revoked"):
        revoke(scratch / "revoked", each.fingerprint)
    yield Attack(kind="signed by a revoked key", path=bundle)
    bundle = copied(sealed, scratch / "older")
    (bundle / "card.md").write_bytes(b"# Another card\n")
    yield Attack(kind="old signature on new files", path=_renamed(bundle, _manifest(bundle)))
    bundle = copied(sealed, scratch / "downgraded")
    (bundle / SIGNATURE).unlink()
    fields = json.loads((bundle / MANIFEST).read_bytes())
    kept = {"model.onnx", "schema.json", "profile.json", "parity.json", "golden.json", "facts.json"}
    for file in bundle.iterdir():
        if file.name not in {*kept, MANIFEST}:
            file.unlink()
    del fields["epoch"]
    fields |= {"format": 2, "files": {name: fields["files"][name] for name in kept}}
    yield Attack(kind="written as an unsigned format", path=_renamed(bundle, canonical_json(fields)))


def models(sealed: Path, scratch: Path) -> Iterator[Attack]:
    """Put what is no graph of a bundle's in the place of the graph, in a folder whose hashes and signature all fit."""
    state = sealed.parents[1]
    files = {file.name: file.read_bytes() for file in sealed.iterdir() if file.name != SIGNATURE}
    for kind, edit in {**_strange_models(), "a pickle named .onnx": _pickled}.items():
        changed = {**files, MODEL: edit(files[MODEL])}
        bundle = copied(sealed, scratch / kind.replace(" ", "-"))
        for file in bundle.iterdir():
            file.unlink()
        (scratch / kind.replace(" ", "-") / "signing.key").write_bytes((state / "signing.key").read_bytes())
        changed[MANIFEST] = _write_manifest(changed)
        path = write_bundle(scratch / kind.replace(" ", "-"), changed)
        yield Attack(kind=kind, path=path)


def _strange_models() -> Mapping[str, Edit]:
    changes = {
        "external tensors": _external,
        "a custom operator": _custom,
        "10,000 nodes": _many,
        "a tensor of an exabyte": _huge,
        "a shape of sixteen gigacells": _swollen,
        "a loop": _loop,
        "graphs in graphs": _nested,
        "functions of its own": _function,
    }
    edits = {kind: partial(_edited, change) for kind, change in changes.items()}
    return {**edits, "half a file": lambda content: content[: len(content) // 2], "no bytes": lambda _: b""}


def _pickled(_: bytes) -> bytes:
    return pickle.dumps({"weights": [1.0]})


def _edited(change: Callable[[Any], object], content: bytes) -> bytes:
    from onnx import load_from_string

    model = load_from_string(content)
    change(model)
    return bytes(model.SerializeToString())


def _external(model: Any) -> None:
    from onnx import TensorProto

    tensor = model.graph.initializer.add(name="outside", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def _custom(model: Any) -> None:
    from onnx import helper

    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node.append(helper.make_node("Shell", [], ["shell"], domain="com.example"))


def _many(model: Any) -> None:
    from onnx import helper

    last = model.graph.node[0].input[0]
    model.graph.node.extend(helper.make_node("Identity", [last], [f"more_{at}"]) for at in range(10_000))


def _huge(model: Any) -> None:
    from onnx import TensorProto

    model.graph.initializer.add(name="huge", data_type=TensorProto.FLOAT, dims=[1 << 30, 1 << 30])


def _swollen(model: Any) -> None:
    from onnx import helper, numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 17] * 2), name="shape"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["grown"]))


def _loop(model: Any) -> None:
    from onnx import helper

    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["never"], body=body))


def _nested(model: Any) -> None:
    from onnx import helper

    graph = helper.make_graph([], "deepest", [], [])
    for at in range(20):
        graph = helper.make_graph([helper.make_node("Own", [], [f"o{at}"], inner=graph)], "deep", [], [])
    model.graph.node.append(helper.make_node("Own", [], ["deep"], inner=graph))


def _function(model: Any) -> None:
    from onnx import helper

    model.functions.append(helper.make_function("own", "F", [], [], [], [helper.make_opsetid("", 17)]))


def _write_manifest(files: Mapping[str, bytes]) -> bytes:
    before = json.loads(files[MANIFEST])
    contents = {name: content for name, content in files.items() if name != MANIFEST}
    return write_manifest(
        model=before["model"], model_digest=before["model_digest"], contents=contents, epoch=before["epoch"]
    )


def _manifest(bundle: Path) -> bytes:
    return _write_manifest({file.name: file.read_bytes() for file in bundle.iterdir() if file.name != SIGNATURE})


def _renamed(bundle: Path, manifest: bytes) -> Path:
    (bundle / MANIFEST).write_bytes(manifest)
    return bundle.rename(bundle.with_name(digest_of_bytes(manifest)))
