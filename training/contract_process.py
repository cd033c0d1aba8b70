"""The other process of the trainer contract: it trains on the same made-up rows and prints what came out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import cast

from baton.core.policy import Task
from baton.training.fit import fit
from baton.training.generated import generated_rows, generated_spec
from baton.training.repeatability import steps


def main(trainer: str, folder: str, threads: str, *tasks: str) -> None:
    """Train each task and print the digests of its steps, one line of JSON each."""
    for task in cast("tuple[Task, ...]", tasks):
        spec, rows = generated_spec(task, trainer=trainer, folder=Path(folder)), generated_rows(task)
        found = steps(fit(spec, rows, threads=int(threads)), rows)
        sys.stdout.write("\n" + json.dumps({"task": task, "steps": asdict(found)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
