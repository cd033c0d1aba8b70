"""How much memory a loaded model takes: `python -m baton.validation.memory_probe MODEL.onnx` prints bytes.

A process of its own loads the model several times over. The first load also
brings in the runtime; what each later one adds is the model, the same within a
hundredth on every run.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from pathlib import Path

from baton.core.errors import DependencyDown

SECONDS = 60
# Small models are loaded more often, so that pages of memory are fine enough.
COPIES = 4
LARGE_BYTES = 4 << 20
# ONNX Runtime's severities: 3 is errors only.
QUIET = 3


def memory_bytes(*files: Path) -> tuple[int, ...]:
    """Give the resident memory of each model, measured side by side.

    Raises:
        DependencyDown: A model could not be loaded, or not within a minute.
    """
    commands = [(sys.executable, "-P", "-m", "baton.validation.memory_probe", str(file.absolute())) for file in files]
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    try:
        return tuple(_answer(process, file) for process, file in zip(running, files, strict=True))
    finally:
        for process in running:
            process.kill()
            process.wait()


def resident_growth(file: Path) -> int:
    """Load a model in this process, and give the bytes that each load after the first adds."""
    first = _load(file)
    before = _resident()
    copies = 1 if file.stat().st_size > LARGE_BYTES else COPIES
    more = [_load(file) for _ in range(copies)]
    grown = _resident() - before
    del first, more
    return max(grown // copies, 0)


def _answer(process: subprocess.Popen[str], file: Path) -> int:
    try:
        said, complaint = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _unmeasured(file, f"it took longer than {SECONDS} s") from error
    if process.returncode:
        raise _unmeasured(file, (complaint.strip().splitlines() or [f"exit {process.returncode}"])[-1])
    return int(said)


def _unmeasured(file: Path, why: str) -> DependencyDown:
    return DependencyDown(what=f"the memory of {file} could not be measured", why=why, fix="seal the model again")


def _load(file: Path) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # As it is served: each further thread has memory of its own.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    return onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])


def _resident() -> int:
    import psutil

    gc.collect()
    # What was freed may stay with the process; glibc gives it back when asked.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    sys.stdout.write(f"{resident_growth(Path(sys.argv[1]))}\n")
