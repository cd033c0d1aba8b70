"""The release pointer is signed, and is read back whole or refused."""

import json
import threading
from dataclasses import replace

import pytest

from baton.core.digest import canonical_json, digest_of, plain
from baton.core.errors import Conflict, IntegrityBroken
from baton.core.release import Mode, Release
from baton.serving.release_file import (
    KEY_FILE,
    LOCK_FILE,
    RELEASE_FILE,
    move_release,
    read_release,
    write_release,
)

RELEASE = Release(model="flights", epoch=3, version="7", champion="a" * 64, challenger="b" * 64, mode=Mode.CANARY)


def unsigned(release):
    """Give the bytes of format 1, which had no signature and seven fields."""
    fields = {
        name: value
        for name, value in plain(release).items()
        if name in {"model", "epoch", "version", "champion", "challenger", "mode", "weight"}
    }
    return canonical_json({"format": 1, "release": fields, "sha256": digest_of(fields)})


def test_a_release_is_read_back_as_written(tmp_path):
    write_release(tmp_path, RELEASE)

    assert read_release(tmp_path) == RELEASE
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [LOCK_FILE, RELEASE_FILE, KEY_FILE]
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_a_writer_that_was_paused_does_not_take_serving_back(tmp_path):
    write_release(tmp_path, RELEASE)
    write_release(tmp_path, replace(RELEASE, epoch=2, version="6"))

    assert read_release(tmp_path) == RELEASE


def test_who_knows_only_the_champion_does_not_end_its_rollout(tmp_path):
    rollout = replace(RELEASE, revision=4, weight=0.25)
    write_release(tmp_path, rollout)
    write_release(tmp_path, Release(model="flights", epoch=3, version="7", champion="a" * 64))

    assert read_release(tmp_path) == rollout


def test_the_next_epoch_ends_a_rollout(tmp_path):
    """B8: a rollback during a canary is one write, so the canary never outlives it."""
    write_release(tmp_path, replace(RELEASE, revision=4, weight=0.25))
    after = Release(model="flights", epoch=4, version="6", champion="c" * 64)
    write_release(tmp_path, after)

    assert read_release(tmp_path) == after


def test_a_move_that_comes_too_late_is_told(tmp_path):
    write_release(tmp_path, replace(RELEASE, revision=4))

    with pytest.raises(Conflict, match="revision 4 of epoch 3"):
        move_release(tmp_path, replace(RELEASE, revision=3))
    move_release(tmp_path, replace(RELEASE, revision=4))
    move_release(tmp_path, replace(RELEASE, revision=5))
    assert read_release(tmp_path).revision == 5


def test_there_may_be_no_release_yet(tmp_path):
    assert read_release(tmp_path) is None


def test_every_cut_of_the_file_is_refused(tmp_path):
    content = write_release(tmp_path, RELEASE).read_bytes()
    for length in range(0, len(content) - 1, 7):
        (tmp_path / RELEASE_FILE).write_bytes(content[:length])
        with pytest.raises(IntegrityBroken):
            read_release(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"epoch":3', b'"epoch":4'),
        (b'"format":2', b'"format":3'),
        (b'"format":2', b'"format":1'),
        (b"canary", b"parrot"),
        (b'"version":"7"', b'"strange":"7"'),
        (b'"signature":"', b'"signature":"0'),
        (b"{", b"["),
        (b"{", b"\xff"),
    ],
    ids=[
        "edited",
        "of another format",
        "called unsigned",
        "of an unknown mode",
        "with an unknown key",
        "with another signature",
        "not JSON",
        "not UTF-8",
    ],
)
def test_a_pointer_that_was_not_written_is_refused(tmp_path, old, new):
    path = write_release(tmp_path, RELEASE)
    path.write_bytes(path.read_bytes().replace(old, new, 1))

    with pytest.raises(IntegrityBroken, match=r"release\.json is refused"):
        read_release(tmp_path)


def test_another_folders_release_is_refused(tmp_path):
    write_release(tmp_path / "one", RELEASE)
    theirs = write_release(tmp_path / "other", replace(RELEASE, version="8")).read_bytes()
    (tmp_path / "one" / RELEASE_FILE).write_bytes(theirs)

    with pytest.raises(IntegrityBroken, match="signature is not this folder's"):
        read_release(tmp_path / "one")


def test_an_unsigned_release_is_taken_once_and_signed(tmp_path):
    before = unsigned(RELEASE)
    (tmp_path / RELEASE_FILE).write_bytes(before)

    assert read_release(tmp_path) == RELEASE
    signed = json.loads((tmp_path / RELEASE_FILE).read_bytes())
    assert (signed["format"], len(signed["signature"])) == (2, 64)
    assert read_release(tmp_path) == RELEASE

    (tmp_path / RELEASE_FILE).write_bytes(before)
    with pytest.raises(IntegrityBroken, match="has no signature"):
        read_release(tmp_path)


def test_an_unsigned_release_that_was_edited_is_refused(tmp_path):
    (tmp_path / RELEASE_FILE).write_bytes(unsigned(RELEASE).replace(b'"version":"7"', b'"version":"8"'))

    with pytest.raises(IntegrityBroken, match="checksum"):
        read_release(tmp_path)


@pytest.mark.parametrize(
    "spoil", [lambda key: key.unlink(), lambda key: key.write_text("no key")], ids=["lost", "spoilt"]
)
def test_without_its_key_a_release_is_refused_and_one_of_the_ledger_replaces_it(tmp_path, spoil):
    write_release(tmp_path, RELEASE)
    spoil(tmp_path / KEY_FILE)

    with pytest.raises(IntegrityBroken):
        read_release(tmp_path)
    if (tmp_path / KEY_FILE).exists():
        (tmp_path / KEY_FILE).unlink()
    write_release(tmp_path, RELEASE)
    assert read_release(tmp_path) == RELEASE


def test_of_many_writers_the_newest_stays(tmp_path):
    """B9: whoever is later in the ledger wins, in whatever order the writers come."""
    releases = [replace(RELEASE, epoch=epoch, version=str(epoch)) for epoch in range(1, 41)]
    threads = [threading.Thread(target=write_release, args=(tmp_path, each)) for each in releases[::-1]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert read_release(tmp_path) == releases[-1]
