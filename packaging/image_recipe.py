"""What a serving image is made of, in typed fields, and the Containerfile that they give.

Nothing of the fields can become an instruction, an option or a path of its
own: each one is matched whole against what it may be (a newline in a base
image's name has been code execution in other packagers, CVE-2026-44345).
Every instruction is in the exec form, so the image needs no shell.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from baton.core.errors import Misuse, listed

# A name never begins with a dash, and 64 digits of hex leave no room for a tag that moves.
BASE = r"^[a-z0-9][a-z0-9._/:-]{0,199}@sha256:[0-9a-f]{64}$"
MODEL = r"^[a-z0-9][a-z0-9._-]{0,63}$"
CODE = "/opt/baton"
STATE = "/var/lib/baton"
# In the build's folder: the locked requirements, Baton's own, and the wheels of both.
REQUIREMENTS, OWN_REQUIREMENTS, WHEELS = "requirements.txt", "baton.txt", "wheels"
MOST_PORT = 65535
# Below it are the system's own users.
FIRST_USER = 1000


class ImageRecipe(BaseModel):
    """One serving image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: Annotated[str, Field(pattern=BASE, description="Image with Python 3.11, as name@sha256:<64 hex>.")]
    model: Annotated[str, Field(pattern=MODEL, description="The model that it serves.")]
    port: Annotated[int, Field(ge=1024, le=MOST_PORT, description="Port that it listens on.")] = 3000
    user: Annotated[int, Field(ge=FIRST_USER, le=65534, description="Number of the user that it runs as.")] = 10001
    grace_seconds: Annotated[int, Field(ge=0, le=300, description="Longest between not ready and the end.")] = 5

    @property
    def base_digest(self) -> str:
        """The digest that the base is named by, as `sha256:<64 hex>`."""
        return self.base.rpartition("@")[2]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the image: what is served from where, and no vendor calls home."""
        return {
            "BATON_SERVING_FOLDER": f"{STATE}/{self.model}",
            "BATON_SERVING_MODEL": self.model,
            "BENTOML_DO_NOT_TRACK": "true",
            "BENTOML_HOME": "/tmp/bentoml",  # noqa: S108 - the only folder of the image that may be written to
            "DO_NOT_TRACK": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": CODE,
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def entrypoint(self) -> list[str]:
        """The command that serves.

        Listening on all addresses, it refuses to start without keys and TLS
        unless its settings say that it may.
        """
        where = ["--host", "0.0.0.0", "--port", str(self.port)]  # noqa: S104 - see above
        return ["python3", "-m", "baton.serving.host", *where, "--grace-seconds", str(self.grace_seconds)]

    @property
    def health(self) -> list[str]:
        """The command that says whether it lives."""
        return ["python3", "-m", "baton.serving.health", "--port", str(self.port)]


def recipe_from(**fields: object) -> ImageRecipe:
    """Check the fields of a recipe.

    Raises:
        Misuse: One is not what it may be; all are listed.
    """
    try:
        return ImageRecipe.model_validate(fields)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        fix = "name the base as NAME@sha256:<64 hex>, and the model as model.yaml does"
        raise Misuse(what="no image is made of this", why=listed(problems), fix=fix) from error


def containerfile(recipe: ImageRecipe) -> str:
    """Write the Containerfile: wheels are installed in a stage of their own, and the image keeps what they hold.

    The build's folder has `requirements.txt` (the lock file's `serving` extra),
    `baton.txt` and `wheels/`; nothing is fetched, and a wheel with other bytes
    than the lock file's is refused by pip.
    """
    pip = ["/pip/bin/pip", "install", "--no-index", "--no-cache-dir", "--no-deps", "--require-hashes"]
    into = ["--find-links", f"/{WHEELS}", "--target", CODE]
    wanted = ["-r", f"/{REQUIREMENTS}", "-r", f"/{OWN_REQUIREMENTS}"]
    environment = " ".join(f"{name}={json.dumps(value)}" for name, value in recipe.environment.items())
    lines = [
        f"FROM {recipe.base} AS build",
        f"COPY {json.dumps([REQUIREMENTS, OWN_REQUIREMENTS, '/'])}",
        f"COPY {json.dumps([WHEELS, f'/{WHEELS}'])}",
        f"RUN {json.dumps(['python3', '-m', 'venv', '/pip'])}",
        f"RUN {json.dumps([*pip, *into, *wanted])}",
        f"FROM {recipe.base}",
        f"COPY --from=build {json.dumps([CODE, CODE])}",
        f"ENV {environment}",
        f"EXPOSE {recipe.port}",
        f"USER {recipe.user}:{recipe.user}",
        f"WORKDIR {CODE}",
        f"HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD {json.dumps(recipe.health)}",
        f"ENTRYPOINT {json.dumps(recipe.entrypoint)}",
    ]
    return "\n".join(lines) + "\n"
