"""Install the extra of the serving image in an environment of its own, and say what it takes.

    python bench/size.py            # a table; JSON=1 for one JSON line each
    MOST=300 python bench/size.py   # exit 1 where it is more megabytes than that

The versions are the lock file's. Bytes are those of the files, without what
Python writes beside them; a line of its own says how much of them the service
never loads (headers, tests, and Arrow's servers and plans), which an image may
leave out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from printed import Line, print_lines

ROOT = Path(__file__).parents[1]
LARGEST = 8
UV = os.environ.get("UV", "uv")
# Parts of Arrow that nothing in the service loads, and what compilers and testers need.
LEFT_OUT = (
    *("pyarrow/libarrow_flight*", "pyarrow/libarrow_python_flight*", "pyarrow/libarrow_substrait*"),
    *("pyarrow/_flight*", "pyarrow/_substrait*", "**/tests", "**/include"),
)


def main() -> None:
    """Install, measure, print."""
    with tempfile.TemporaryDirectory() as name:
        packages = _installed(Path(name))
        print_lines(_lines(packages), title="What the extra `serving` installs, in megabytes")
        most = os.environ.get("MOST")
        if most and _megabytes(packages) > float(most):
            sys.exit(1)


def _installed(folder: Path) -> Path:
    locked, python = folder / "locked.txt", folder / "env" / "bin" / "python"
    export = (UV, "export", "--quiet", "--locked", "--no-dev", "--no-emit-project", "--extra", "serving")
    locked.write_text(subprocess.run(export, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder / "env"], cwd=ROOT, check=True)
    install = (UV, "pip", "install", "--quiet", "--link-mode", "copy", "--require-hashes")
    subprocess.run([*install, "--python", python, "-r", locked], cwd=ROOT, check=True)
    return next((folder / "env" / "lib").glob("python*/site-packages"))


def _lines(packages: Path) -> Iterator[Line]:
    total = _megabytes(packages)
    unused = {path for pattern in LEFT_OUT for path in packages.glob(pattern)}
    # A folder of tests may lie in one that is left out already.
    whole = [path for path in unused if not unused & set(path.parents)]
    never = sum(_megabytes(path) for path in whole)
    yield _line("all", total)
    yield _line("all, without what is never loaded", total - never)
    parts = sorted(((_megabytes(part), part.name) for part in packages.iterdir()), reverse=True)
    yield from (_line(name, megabytes) for megabytes, name in parts[:LARGEST])


def _line(part: str, megabytes: float) -> Line:
    return {"bench": "size", "part": part, "installed_mb": round(megabytes, 1)}


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(each.stat().st_size for each in files if each.is_file() and not each.is_symlink()) / 1e6


if __name__ == "__main__":
    main()
