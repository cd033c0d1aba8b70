"""Files of rows, scored."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton.core.errors import Conflict, DataRefused, EmptyWindow, Misuse, SourceMissing
from baton.serving import batch_files, batch_score
from baton.serving.batch_files import Parts
from baton.serving.batch_score import score_file
from baton.serving.predictor import load_predictor

BATON = Path(sys.executable).with_name("baton")


@pytest.fixture
def predictor(state, release):
    return load_predictor(state, release(0), max_batch_rows=64)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 16 rows, so that two hundred rows are many."""
    for module in (batch_files, batch_score):
        monkeypatch.setattr(module, "CHUNK_ROWS", 16)


@pytest.fixture
def frame(sealed):
    frame = pd.DataFrame(sealed.requests)
    return frame.assign(flight=[f"f{at}" for at in range(len(frame))], town="NYC")


@pytest.fixture
def source(frame, tmp_path):
    path = tmp_path / "in.parquet"
    frame.to_parquet(path, row_group_size=50)
    return path


def test_each_row_has_the_answer_of_the_service(predictor, source, sealed, tmp_path, small_chunks):
    result = score_file(source, tmp_path / "out.parquet", predictor, id_column="flight", kept=["town"])

    out = pq.read_table(tmp_path / "out.parquet")
    assert (result.rows, result.scored, result.rejected) == (200, 200, 0)
    assert out.column_names == ["id", "town", "score", "digest", "version"]
    assert out["id"].to_pylist() == [f"f{at}" for at in range(200)]
    assert out["score"].to_numpy().tobytes() == predictor.score(sealed.table).tobytes()
    assert set(out["digest"].to_pylist()) == {predictor.bundle.digest}
    assert set(out["version"].to_pylist()) == {"1"}
    assert not list(tmp_path.glob(".out*"))


def test_a_csv_file_gives_the_same_answers(predictor, source, frame, tmp_path):
    frame.to_csv(tmp_path / "in.csv", index=False)
    score_file(source, tmp_path / "a.parquet", predictor)
    score_file(tmp_path / "in.csv", tmp_path / "b.parquet", predictor)

    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_bad_rows_are_set_aside_with_their_reason(predictor, frame, tmp_path, small_chunks):
    frame.loc[3, "distance"] = np.inf
    frame.loc[40, "carrier"] = "A\0A"
    frame.to_parquet(tmp_path / "in.parquet")

    result = score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", predictor, id_column="flight")

    rejected = pd.read_parquet(tmp_path / "out.rejected.parquet")
    assert (result.scored, result.rejected) == (198, 2)
    assert rejected["rejected_row"].tolist() == [3, 40]
    assert rejected["rejected_reason"].tolist() == [
        "distance: too large for a 32-bit float",
        "carrier: text holds NUL or half a character",
    ]
    assert "f3" not in pq.read_table(tmp_path / "out.parquet")["id"].to_pylist()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("twelve", "distance: expected number or null, found text"),
        ("nan", "distance: expected number or null, found text"),
        ("0x10", "distance: expected number or null, found text"),
        ("1e400", "distance: too large for a 32-bit float"),
        ("1e39", "distance: too large for a 32-bit float"),
    ],
)
def test_a_value_in_a_csv_file_is_judged_as_in_a_request(predictor, frame, tmp_path, value, reason):
    frame["distance"] = frame["distance"].astype(object)
    frame.loc[1, "distance"] = value
    frame.to_csv(tmp_path / "in.csv", index=False)

    score_file(tmp_path / "in.csv", tmp_path / "out.parquet", predictor)

    assert pd.read_parquet(tmp_path / "out.rejected.parquet")["rejected_reason"].tolist() == [reason]


def test_too_many_bad_rows_leave_the_output_alone(predictor, frame, tmp_path):
    frame.loc[:9, "distance"] = np.inf
    frame.to_parquet(tmp_path / "in.parquet")

    with pytest.raises(DataRefused, match=r"10 of 200 rows are bad, the limit is 1.00%"):
        score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", predictor)

    assert not (tmp_path / "out.parquet").exists()
    assert pq.read_metadata(tmp_path / "out.rejected.parquet").num_rows == 10
    # With a higher limit nothing is scored again.
    again = score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", predictor, most_rejected=0.1)
    assert (again.scored, again.resumed) == (190, 200)


@pytest.mark.parametrize("stopped_at", [0, 1, 5, 12])
def test_a_stopped_run_goes_on_to_the_same_bytes(predictor, source, tmp_path, small_chunks, stopped_at):
    score_file(source, tmp_path / "whole.parquet", predictor)
    calls = []

    def stop(done, _rows):
        calls.append(done)
        if len(calls) > stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_file(source, tmp_path / "out.parquet", predictor, progress=stop)
    assert not (tmp_path / "out.parquet").exists()
    result = score_file(source, tmp_path / "out.parquet", predictor)

    assert result.resumed == min((stopped_at + 1) * 16, 200)
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.usefixtures("small_chunks")
def test_parts_of_another_input_or_model_are_not_used(state, release, source, frame, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    predictor = load_predictor(state, release(0), max_batch_rows=64)
    with pytest.raises(KeyboardInterrupt):
        score_file(source, tmp_path / "out.parquet", predictor, progress=stop)
    other = load_predictor(state, release(1), max_batch_rows=64)
    assert score_file(source, tmp_path / "out.parquet", other).resumed == 0

    with pytest.raises(KeyboardInterrupt):
        score_file(source, tmp_path / "out.parquet", predictor, progress=stop)
    frame.iloc[::-1].to_parquet(source)
    assert score_file(source, tmp_path / "out.parquet", predictor).resumed == 0


def test_two_runs_do_not_write_one_file(predictor, source, tmp_path):
    with Parts(tmp_path / "out.parquet").opened({}), pytest.raises(Conflict, match="another process"):
        score_file(source, tmp_path / "out.parquet", predictor)


def test_what_cannot_be_scored_is_said_at_once(predictor, source, frame, tmp_path):
    out = tmp_path / "out.parquet"
    bad = tmp_path / "bad.parquet"
    frame.rename(columns={"distance": "distanse"}).assign(delay=True).to_parquet(bad)
    with pytest.raises(SourceMissing, match=r"distance is missing, did you mean 'distanse'\?, delay is bool"):
        score_file(bad, out, predictor)
    frame.iloc[:0].to_parquet(bad)
    with pytest.raises((EmptyWindow, SourceMissing)):
        score_file(bad, out, predictor)
    bad.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(SourceMissing, match="cannot be read"):
        score_file(bad, out, predictor)
    with pytest.raises(SourceMissing, match="no file at"):
        score_file(tmp_path / "none.parquet", out, predictor)
    with pytest.raises(SourceMissing, match="lacks ship"):
        score_file(source, out, predictor, id_column="ship")
    with pytest.raises(Misuse, match="the input"):
        score_file(source, source, predictor)
    frame.rename(columns={"town": "score"}).to_parquet(bad)
    with pytest.raises(Misuse, match="clash"):
        score_file(bad, out, predictor, kept=["score"])


def test_kinds_of_columns_that_hold_numbers_or_text_are_taken(predictor, sealed, tmp_path):
    whole = pa.array([None if r["distance"] is None else int(r["distance"]) for r in sealed.requests], pa.int32())
    table = pa.table(
        {
            "carrier": pa.array([r["carrier"] for r in sealed.requests]).dictionary_encode(),
            "distance": whole,
            "delay": pa.array([r["delay"] for r in sealed.requests], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")

    score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", predictor)

    out = pq.read_table(tmp_path / "out.parquet")
    assert out["score"].to_numpy().tobytes() == predictor.score(sealed.table).tobytes()
    assert out["id"].to_pylist() == [str(at) for at in range(200)]


def _many(sealed, path, rows):
    table = pa.Table.from_pylist(sealed.requests * (rows // 200))
    pq.write_table(table, path, row_group_size=100_000)


def _command(sealed, source, target, *more):
    return [BATON, "score", source, target, "--bundle", sealed.bundles[0].path, "--json", *more]


def test_killed_at_any_moment_the_command_goes_on_to_the_same_bytes(sealed, tmp_path):
    """J1: kill -9 leaves nothing half-visible, and the same command ends with the same bytes."""
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    _many(sealed, source, 400_000)
    done = subprocess.run(_command(sealed, source, tmp_path / "whole.parquet"), check=True, capture_output=True)
    assert json.loads(done.stdout)["scored"] == 400_000

    resumed = 0
    for parts in (1, 3):
        running = subprocess.Popen(_command(sealed, source, out), stdout=subprocess.DEVNULL)
        while running.poll() is None and len(list(tmp_path.glob(".out.parquet.parts/*.parquet"))) < parts:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not out.exists() or running.returncode == 0
    done = subprocess.run(_command(sealed, source, out), check=True, capture_output=True)
    resumed = json.loads(done.stdout)["resumed"]

    assert resumed >= 65_536 or running.returncode == 0
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_full_disk_ends_the_command_and_more_room_lets_it_go_on(sealed, tmp_path):
    """J1: a file-size limit stands for the full disk; exit 4, nothing half-visible, the same command goes on."""
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    _many(sealed, source, 200_000)
    full = subprocess.run(
        _command(sealed, source, out),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert (full.returncode, out.exists()) == (4, False), full.stderr
    assert full.stderr.startswith("error: the disk is full")
    subprocess.run(_command(sealed, source, out), check=True, capture_output=True)
    assert pq.read_metadata(out).num_rows == 200_000


def test_the_command_ends_with_the_documented_codes(sealed, frame, tmp_path):
    frame.loc[:9, "distance"] = np.inf
    frame.to_parquet(tmp_path / "in.parquet")

    def code(*words):
        done = subprocess.run([BATON, "score", *words], capture_output=True, text=True, check=False, env=os.environ)
        return done.returncode, done.stderr

    bundle = sealed.bundles[0].path
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    assert code(source, out, "--bundle", bundle)[0] == 1
    assert code(source, out, "--bundle", bundle, "--most-rejected", "0.5")[0] == 0
    assert code(source, out, "--bundle", bundle, "--version", "1")[0] == 2
    assert code(tmp_path / "none", out, "--bundle", bundle)[0] == 2
    other = tmp_path / "elsewhere" / "bundles" / bundle.name
    shutil.copytree(bundle, other)
    # Whom to trust is not the bundle's to say.
    assert code(source, out, "--bundle", other, "--most-rejected", "0.5")[0] == 5
    shutil.copytree(bundle.parents[1] / "signers", tmp_path / "elsewhere" / "signers")
    assert code(source, out, "--bundle", other, "--most-rejected", "0.5")[0] == 0
    model = next(each for each in other.iterdir() if each.suffix == ".onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    ended, said = code(source, out, "--bundle", other)
    assert ended == 5, said
