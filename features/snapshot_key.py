"""The name of the work that a snapshot takes, so that finished work is found again and not repeated."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from baton.core import digest as digests
from baton.core.digest import digest_of, digest_of_file
from baton.core.spec import ModelSpec

if TYPE_CHECKING:
    from baton.features.landing import Landing

# What a snapshot's rows are read from and made of; a model's parameters are not among it.
SECTIONS = {"source", "features", "prediction", "label"}
# Their releases may round or order otherwise.
LIBRARIES = ("numpy", "pandas", "pyarrow", "feast")


def snapshot_key(spec: ModelSpec, landing: Landing, *, as_of: datetime, start: datetime | None = None) -> str:
    """Name a snapshot by all that goes into it: landed rows, declarations, code, moment and first moment."""
    declared = spec.model_dump(mode="json", include=SECTIONS)
    return digest_of([landing.digest(as_of=as_of), declared, project_code(spec), _own_code(), as_of, start])


def project_code(spec: ModelSpec) -> str:
    """Give the SHA-256 of the project's code as it is now: reader, definitions and every module beside them."""
    named = [*([spec.source.reader.split(":")[0]] if spec.source.reader else []), spec.features.definitions]
    files = sorted({*(spec.folder / name for name in named), *spec.folder.glob("*.py")})
    return digest_of({str(f.relative_to(spec.folder)): digest_of_file(f) for f in files if f.is_file()})


@lru_cache(maxsize=1)
def _own_code() -> str:
    """Give the SHA-256 of this stage's code, of the digests and of the libraries below, once a process."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(digests.__file__)]
    code = {f"{file.parent.name}/{file.name}": digest_of_file(file) for file in files}
    return digest_of([code, {name: version(name) for name in LIBRARIES}])
