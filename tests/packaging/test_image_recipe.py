"""R10: no value can add an instruction to a Containerfile, and what is written is what hadolint finds in order."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from baton.core.errors import Misuse
from baton.packaging.image_recipe import ImageRecipe, containerfile, recipe_from
from baton.packaging.serving_image import image_config

BASE = "registry.example/python:3.11-slim@sha256:" + "ab" * 32
BUILD, IMAGE = ["FROM", "COPY", "COPY", "RUN", "RUN"], ["FROM", "COPY", "ENV", "EXPOSE", "USER", "WORKDIR"]
INSTRUCTIONS = [*BUILD, *IMAGE, "HEALTHCHECK", "ENTRYPOINT"]
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"[a-z]{1,8}(\n|\r|\u2028| |;|&&)?(RUN|--)?[a-z ]{0,8}@sha256:[0-9a-f]{64}\n?", fullmatch=True),
    st.sampled_from(["-flag", "--privileged", "a\nRUN id", "a b", "a\\", '"', "${HOME}", BASE, "flights"]),
)


def instructions(text):
    return [line.split(" ", 1)[0] for line in text.splitlines()]


def test_a_recipe_gives_these_instructions_and_no_other():
    assert instructions(containerfile(recipe_from(base=BASE, model="flights"))) == INSTRUCTIONS


# On a busy machine a value may take long to be made, which is no finding.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(base=HOSTILE, model=HOSTILE, port=st.one_of(st.integers(), HOSTILE), user=st.one_of(st.integers(), HOSTILE))
@example(base=BASE + "\nRUN id", model="flights", port=3000, user=10001)
@example(base=BASE + "\n", model="flights", port=3000, user=10001)
@example(base="-" + BASE, model="flights", port=3000, user=10001)
@example(base=BASE, model="flights\nUSER root", port=3000, user=10001)
@example(base=BASE, model="flights", port=3000, user=0)
@example(base=BASE, model="flights", port="3000\nUSER root", user=10001)
def test_any_value_is_refused_or_gives_exactly_these_instructions(base, model, port, user):
    try:
        recipe = recipe_from(base=base, model=model, port=port, user=user)
    except Misuse:
        return
    text = containerfile(recipe)
    assert instructions(text) == INSTRUCTIONS
    assert f"USER {recipe.user}:{recipe.user}" in text.splitlines()
    assert recipe.user >= 1000


@pytest.mark.parametrize(
    "base", ["python:3.11", "python@sha256:abc", "python:latest@sha256:" + "AB" * 32, "-x@sha256:" + "ab" * 32]
)
def test_a_base_without_a_whole_digest_is_refused(base):
    with pytest.raises(Misuse, match="base"):
        recipe_from(base=base, model="flights")


def test_what_is_no_field_is_refused():
    with pytest.raises(Misuse, match="system_packages"):
        recipe_from(base=BASE, model="flights", system_packages=["curl"])


def test_hadolint_finds_nothing_to_warn_of(tmp_path):
    (tmp_path / "Containerfile").write_text(containerfile(recipe_from(base=BASE, model="flights")))
    hadolint = Path(sys.executable).with_name("hadolint")

    def lint(path):
        command = [hadolint, "--no-color", "--failure-threshold", "warning", path]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert lint(tmp_path / "Containerfile").returncode == 0
    # The linter does look.
    (tmp_path / "Bad").write_text("FROM python:latest\nRUN apt-get install curl\nENTRYPOINT python3\n")
    assert "DL3007" in lint(tmp_path / "Bad").stdout


def test_both_ways_to_an_image_say_the_same():
    recipe = ImageRecipe(base=BASE, model="flights", port=8080)
    config, text = image_config(recipe), containerfile(recipe)

    assert f"ENTRYPOINT {json.dumps(config['Entrypoint'])}" in text.splitlines()
    assert f"CMD {json.dumps(config['Healthcheck']['Test'][1:])}" in text
    assert all(f'{name}="{value}"' in text for name, value in (each.split("=", 1) for each in config["Env"]))
    assert f"USER {config['User']}" in text.splitlines()
    assert "EXPOSE 8080" in text.splitlines()
