"""Landing from an input that is killed at any moment, over and over: every row lands once."""

import random
import subprocess
import sys
import time
from datetime import datetime, timezone

import pandas as pd
import pytest

from baton.core.spec import load_spec
from baton.features.landing import Landing

ROWS = 6_000
KILLS = 15
MODEL = """
name: t
source:
  inputs: {i: {path: in, columns: {id: text, at: time, amount: number}}}
  tables: {rows: {key: [id], input: i, event_time: at}}
features: {request: [amount]}
prediction: {id: id, moment: at}
label: {table: rows, column: amount}
"""
LANDING = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from baton.core.spec import load_spec
from baton.features.arrivals import arrivals
from baton.features.landing import Landing

folder = Path(sys.argv[1])
spec, place = load_spec(folder), folder / "landing"
landing = Landing(place, spec)
now = datetime(2024, 6, 1, tzinfo=timezone.utc)
print("ready", flush=True)
with arrivals(spec, landing, "rows", folder=place, as_of=now, batch_rows=100) as arriving:
    if arriving is not None:
        for arrived in arriving.batches():
            if arrived.bad is not None:
                landing.quarantine(arrived.batch, arrived.bad)
            arriving.note(arrived.batch)
            landing.land(arrived.batch, arrived.batch.rows)
        arriving.finish()
"""


@pytest.mark.long
def test_every_row_lands_once_and_every_bad_one_is_set_aside_once_however_often_it_is_killed(tmp_path):
    (tmp_path / "model.yaml").write_text(MODEL)
    (tmp_path / "in").mkdir()
    at = pd.date_range("2024-01-01", periods=ROWS, freq="17min", tz="UTC").strftime("%Y-%m-%dT%H:%M:%SZ")
    amounts = [str(n) if n % 97 else "none such" for n in range(ROWS)]
    frame = pd.DataFrame({"id": [f"r{n}" for n in range(ROWS)], "at": at, "amount": amounts})
    for part in range(3):
        frame.iloc[part::3].to_csv(tmp_path / "in" / f"{part}.csv", index=False)
    draw = random.Random(7)
    for kill in range(KILLS + 1):
        with subprocess.Popen([sys.executable, "-c", LANDING, tmp_path], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if kill < KILLS:
                time.sleep(draw.uniform(0, 0.6))
                process.kill()
    assert process.returncode == 0
    landing = Landing(tmp_path / "landing", load_spec(tmp_path))
    rows = landing.read("rows", as_of=datetime(2025, 1, 1, tzinfo=timezone.utc))
    aside = landing.quarantined("rows")
    bad = set(frame["id"][::97])
    assert sorted(rows["id"]) == sorted(set(frame["id"]) - bad)
    assert sorted(aside["id"]) == sorted(bad)
    assert not list((tmp_path / "landing" / "arrivals" / "rows").glob("scratch"))
