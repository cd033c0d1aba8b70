"""What a person does by hand in MLflow's pages: move an alias to a version, tag a version.

Each takes a page of a browser and ends when MLflow has taken the change, which
the page shows then.
"""

from __future__ import annotations

import re
from typing import Any

# MLflow opens as a tool for prompts; this says that models are meant.
MODELS = "workflowType=machine_learning"
# A busy machine takes its time, and MLflow's pages are megabytes of script.
PAGE_MS = 60_000
# A pencil where the version has aliases, a link "Add" where it has none: neither has a name of its own.
ALIAS_EDITOR = '[data-component-id*="modelversionviewaliaseditor.tsx"]:visible'


def open_version(page: Any, base: str, model: str, version: str) -> None:
    """Open a version's page anew and wait until it can be edited."""
    page.set_default_timeout(PAGE_MS)
    # A page that only changes behind the # is not loaded again, and shows the aliases of before.
    page.goto("about:blank")
    # The aliases come with the model, which may be after the version.
    with page.expect_response(lambda answer: "registered-models/get" in answer.url, timeout=PAGE_MS):
        page.goto(f"{base}/#/models/{model}/versions/{version}?{MODELS}")
    page.locator(ALIAS_EDITOR).first.wait_for()


def move_alias(page: Any, base: str, model: str, version: str, alias: str) -> None:
    """Give a version an alias, which takes it from the version that had it."""
    open_version(page, base, model, version)
    page.locator(ALIAS_EDITOR).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").fill(alias)
    page.keyboard.press("Enter")
    # The list of suggestions would lie over the button.
    with page.expect_response(_is_change("registered-models/alias"), timeout=PAGE_MS) as answered:
        dialog.get_by_role("button", name="Save aliases").click()
    assert answered.value.ok, answered.value.status
    dialog.wait_for(state="hidden")


def add_tag(page: Any, base: str, model: str, version: str, *, name: str, value: str) -> None:
    """Give a version a tag that it does not have yet."""
    open_version(page, base, model, version)
    field = page.get_by_label("tag name")
    if not field.is_visible():
        page.get_by_text("Tags", exact=True).first.click()
    field.fill(name)
    page.get_by_label("tag value").fill(value)
    with page.expect_response(_is_change("model-versions/set-tag"), timeout=PAGE_MS) as answered:
        page.locator('[data-component-id*="editabletagstableview.tsx"]', has_text="Add").click()
    assert answered.value.ok, answered.value.status
    page.get_by_role("cell", name=name, exact=True).wait_for()


def aliases_shown(page: Any, base: str, model: str, version: str) -> set[str]:
    """Give the aliases that a version's page shows."""
    open_version(page, base, model, version)
    shown = page.locator('[data-component-id*="modelversionaliastag.tsx"]:visible').all_inner_texts()
    return {re.sub(r"[@\s]", "", text) for text in shown}


def _is_change(path: str) -> Any:
    return lambda answer: path in answer.url and answer.request.method != "GET"
