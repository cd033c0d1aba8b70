"""Try a sealed bundle where it is to be served: run inside the image, before the bundle is promoted.

    python3 -m baton.serving.bundle_check FOLDER/bundles/DIGEST --p99-ms 20

One line of JSON says what was found; exit 0 where the bundle loads, answers
its golden requests as it did when it was sealed, and is quick enough.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from baton.core.errors import BatonError, Misuse
from baton.core.release import Release
from baton.packaging.reader import open_contents
from baton.packaging.rows import Rows
from baton.serving.predictor import proven
from baton.serving.request_schema import parse_rows

# Enough that the hundredth slowest is ten away from the slowest.
REQUESTS = 1_000
BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCheck:
    """What a bundle did where it was tried."""

    digest: str
    golden: int
    requests: int
    load_ms: float
    p50_ms: float
    p99_ms: float
    most_ms: float

    @property
    def passed(self) -> bool:
        """Whether the warm p99 is within its budget; a bundle with a wrong answer does not come so far."""
        return self.p99_ms <= self.most_ms


def check_bundle(path: Path, *, most_ms: float, requests: int = REQUESTS) -> BundleCheck:
    """Load a bundle, ask its golden requests, and time single rows once it is warm.

    Args:
        path: The bundle's folder.
        most_ms: Most milliseconds of the warm p99 of one row.
        requests: Rows that are timed, one after another, golden ones in turn.

    Raises:
        IntegrityBroken: A file differs from its digest, or a golden request gets another answer.
    """
    began = time.perf_counter()
    contents = open_contents(path)
    release = Release(model=contents.bundle.model, epoch=0, version="", champion=contents.bundle.digest)
    predictor = proven(contents, release, max_batch_rows=BATCH)
    load_ms = (time.perf_counter() - began) * 1e3
    golden = parse_rows(contents.golden.rows, contents.bundle.fields)
    took = np.empty(requests)
    for number in range(requests):
        at = slice(number % len(golden), number % len(golden) + 1)
        started = time.perf_counter()
        predictor.score(Rows(numbers=golden.numbers[at], texts=golden.texts[at]))
        took[number] = (time.perf_counter() - started) * 1e3
    p50, p99 = (round(float(each), 4) for each in np.percentile(took, (50, 99)))
    return BundleCheck(
        digest=contents.bundle.digest,
        golden=len(golden),
        requests=requests,
        load_ms=round(load_ms, 1),
        p50_ms=p50,
        p99_ms=p99,
        most_ms=most_ms,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one bundle; exit 0 where it passes, 1 where it is too slow, else the error's own code."""
    parser = argparse.ArgumentParser(prog="baton.serving.bundle_check")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--p99-ms", type=float, required=True)
    asked = parser.parse_args(arguments)
    try:
        if not asked.p99_ms > 0:
            raise Misuse(what="the budget is refused", why=f"{asked.p99_ms} ms are no time", fix="say --p99-ms 20")
        checked = check_bundle(asked.bundle, most_ms=asked.p99_ms)
    except BatonError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for whoever has started it
        return error.exit_code
    print(json.dumps({**asdict(checked), "passed": checked.passed}))  # noqa: T201 - its answer
    return 0 if checked.passed else 1


if __name__ == "__main__":
    sys.exit(main())
