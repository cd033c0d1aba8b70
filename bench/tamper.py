"""What a reader of bundles accepts that was tampered with: it should be nothing.

One line for each kind of tampering: how many were `offered` and how many
`accepted`, that is given to a runtime. The last line is what verifying costs.

    make bench-tamper            tables
    make bench-tamper JSON=1     one JSON object a line
    FLIPS=10000                  single bits that are flipped
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from printed import Line, print_parts
from served_model import MODEL, sealed

from baton.core.errors import IntegrityBroken
from baton.core.release import Release
from baton.packaging.reader import open_contents
from baton.serving.predictor import load_predictor
from baton.testing.tampering import bit_flips, models, rehashed, signers_changed

FLIPS = int(os.environ.get("FLIPS", "1000"))
OPENED = 50


def tampered() -> Iterator[Line]:
    """Tampered bundles, and how many were accepted."""
    offered: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundle = sealed(folder / "state").path
        for attack in chain(
            bit_flips(bundle, folder / "a", count=FLIPS, seed=0),
            rehashed(bundle, folder / "b"),
            signers_changed(bundle, folder / "c"),
            models(bundle, folder / "d"),
        ):
            offered[attack.kind] += 1
            try:
                open_contents(attack.path)
            except IntegrityBroken:
                continue
            accepted[attack.kind] += 1
        kind = "an older epoch"
        offered[kind] += 1
        accepted[kind] += older_epoch(folder / "state", bundle)
        for kind, count in offered.items():
            # What opens is what a runtime would be given.
            yield {"bench": "tamper", "kind": kind, "offered": count, "accepted": accepted[kind]}
        yield {"bench": "tamper", "kind": "all", "offered": offered.total(), "accepted": accepted.total()}


def older_epoch(state: Path, bundle: Path) -> int:
    """Release a bundle of epoch 1 after one of epoch 2 was served; whether it was taken."""
    import asyncio

    from baton.serving.metrics import Metrics
    from baton.serving.release_file import RELEASE_FILE, write_release
    from baton.serving.swap import Champion

    release = Release(model=MODEL, epoch=1, version="1", champion=bundle.name)
    older = (state / RELEASE_FILE).read_bytes()
    write_release(state, replace(release, epoch=2, version="2"))
    champion = Champion(state, model=MODEL, max_batch_rows=8, metrics=Metrics())
    asyncio.run(champion.look())
    (state / RELEASE_FILE).write_bytes(older)
    asyncio.run(champion.look())
    assert champion.router is not None
    return int(champion.router.release.epoch != 2)


def cost() -> Iterator[Line]:
    """Opening a bundle of 250 trees: signature, hashes and a look into the graph; and loading it for serving."""
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch)
        bundle = sealed(state).path
        release = Release(model=MODEL, epoch=1, version="1", champion=bundle.name)
        size = sum(file.stat().st_size for file in bundle.iterdir())
        taken = {}
        for name, act in (
            ("open", lambda: open_contents(bundle)),
            ("open and load", lambda: load_predictor(state, release, max_batch_rows=512)),
        ):
            act()
            started = time.process_time()
            for _ in range(OPENED):
                act()
            taken[name] = (time.process_time() - started) / OPENED * 1e3
        yield {
            "bench": "tamper",
            "bytes": size,
            "open_ms": round(taken["open"], 2),
            "open_and_load_ms": round(taken["open and load"], 2),
        }


if __name__ == "__main__":
    print_parts([tampered, cost])
