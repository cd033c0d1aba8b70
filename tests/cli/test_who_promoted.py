"""K5: who promoted a version, on what data, judged against what, is told by ledger, record and bundle alone."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest


@pytest.mark.parametrize("away", ["the files are gone", "the server is down"])
def test_one_command_tells_it_with_mlflow_off(
    trained: Any, baton: Any, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    if away == "the files are gone":
        shutil.rmtree(trained.folder / "mlflow")
    else:
        monkeypatch.setenv("BATON_MLFLOW_URL", "http://127.0.0.1:9")
    (entry,) = json.loads(baton(*trained.words("status", "--json")).out)["history"]
    facts = json.loads((trained.folder / "bundles" / entry["digest"] / "facts.json").read_bytes())
    told = baton(*trained.words("why", "1"))
    assert told.code == 0, told.err
    said = " ".join(told.out.split())
    assert "PROMOTE" in said
    assert f"epoch {entry['epoch']}" in said
    assert entry["actor"] in said
    assert facts["snapshot"][:12] in said
    verdict = json.loads(baton(*trained.words("why", "1", "--json")).out)
    assert (verdict["challenger"], verdict["champion"]) == (entry["digest"], None)
