"""A project begun from a table: it holds together as it is written, and goes from a strange table to a champion."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baton.core.errors import Conflict, EmptyWindow
from baton.core.spec import load_spec
from baton.features.guess import Wishes, guess
from baton.features.look import looked_at
from baton.features.sample import sample_tables
from baton.features.source import load_definitions
from baton.flows.new_project import begin

NOW = datetime(2024, 6, 1, tzinfo=timezone.utc)
BATON = Path(sys.executable).with_name("baton")


def shop(rows=400):
    """Orders with an odd header, a customer, a label that comes days later, for some never."""
    rng = np.random.default_rng(5)
    at = pd.date_range("2024-01-01", periods=rows, freq="3h", tz="UTC")
    size = rng.normal(size=rows).round(3)
    known = (at + pd.Timedelta(days=2)).astype(str).to_numpy(dtype=object)
    returned = np.where(rng.random(rows) < 1 / (1 + np.exp(-3 * size)), "yes", "no").astype(object)
    never = rng.random(rows) < 0.1
    known[never], returned[never] = "", ""
    return pd.DataFrame(
        {
            "Order Nr": [f"{n * 7919 % 100_000:06}" for n in range(rows)],
            "created at": at.astype(str),
            "Größe (cm)": size,
            "block": rng.choice(["a", "b"], rows),
            "customer": rng.choice([f"c{n}" for n in range(20)], rows),
            "returned": returned,
            "closed_at": known,
        }
    )


def begun(folder, table, **wishes):
    table.to_csv(folder / "t.csv", index=False)
    with looked_at(str(folder / "t.csv"), folder) as looked:
        return begin(looked, guess(looked, Wishes(**wishes)), folder / "shop", timezone=wishes.get("timezone"), now=NOW)


def test_what_is_written_reads_its_table_and_gives_its_features(tmp_path):
    project = begun(tmp_path, shop(), label="returned", entities=("customer",))
    spec = load_spec(project.folder)
    assert spec == project.spec
    assert spec.source.inputs["rows"].path == "../t.csv"
    assert spec.prediction.id == "order_nr"
    assert spec.features.request == ["grosse_cm", "block_value", "customer"]
    assert spec.label.wait_hours == 48
    assert (spec.training.split, spec.training.holdout_ends, spec.prediction.block) == ("time", "newest", "day")
    tables = sample_tables(spec, as_of=NOW, rows=1_000)
    assert len(tables["rows"]) == 400
    assert 300 < len(tables["labels"]) < 400
    assert all(table.expectations for table in spec.source.tables.values())
    definitions = load_definitions(spec)
    assert definitions.request(tables)["order_nr"].is_unique
    history = definitions.views(tables, as_of=NOW)["customer_history"]
    assert history["customer_count_30d"].min() >= 1
    assert history["customer_mean_30d"].between(0, 1).all()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout


def test_a_table_without_a_time_says_so_in_its_file(tmp_path):
    project = begun(tmp_path, shop().drop(columns=["created at", "closed_at"]), label="returned")
    assert project.spec.training.split == "random"
    assert project.spec.source.tables["rows"].times == "landing"
    assert "ROWS HAVE NO TIME" in (project.folder / "model.yaml").read_text()


def test_a_folder_that_is_in_use_or_a_table_without_labels_leaves_nothing_behind(tmp_path):
    with pytest.raises(EmptyWindow, match="no row has a label"):
        begun(
            tmp_path, shop().assign(**{"created at": "2030-01-01T00:00:00Z"}), label="returned", event_time="created at"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("mine")
    with pytest.raises(Conflict, match="there already"):
        begun(tmp_path, shop(), label="returned")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop", "t.csv"]


def test_a_password_stays_out_of_the_project(tmp_path):
    from baton.flows.new_project import _without_password

    assert _without_password("postgresql://me:secret@host:5432/db", tmp_path) == "postgresql://me@host:5432/db"
    assert _without_password("postgresql:///db?host=/tmp", tmp_path) == "postgresql:///db?host=/tmp"


def asked(folder, *words, code=0):
    done = subprocess.run(
        [BATON, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.long
def test_from_a_strange_table_to_a_served_champion_with_no_python(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free_port = taken.getsockname()[1]
    shop(2_000).to_csv(tmp_path / "t.csv", index=False)
    said = asked(tmp_path, "init", "shop", "--from", "t.csv", "--label", "returned", "--yes")
    assert "shop is a project" in said
    project = tmp_path / "shop"
    asked(project, "ingest")
    assert "was promoted, epoch 1" in asked(project, "train")
    with subprocess.Popen(
        [BATON, "serve", "--port", str(free_port)], cwd=project, stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            assert "is up" in service.stdout.readline()
            row = {"grosse_cm": 2.0, "block_value": "a", "customer": "c1"}
            request = urllib.request.Request(
                f"http://127.0.0.1:{free_port}/v1/models/shop/predict",
                data=json.dumps({"rows": [row]}).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 200
        finally:
            service.terminate()


@pytest.mark.long
@pytest.mark.parametrize("name", ["party", "travel", "weather"])
def test_an_example_of_another_shape_is_trained_and_promoted(name, tmp_path):
    project = Path(__file__).parents[2] / "examples" / name
    asked(project, "ingest", "--home", str(tmp_path))
    assert "was promoted, epoch 1" in asked(project, "train", "--home", str(tmp_path))
