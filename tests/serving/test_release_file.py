"""The release pointer is read back whole or refused."""

from dataclasses import replace

import pytest

from baton.core.errors import IntegrityBroken
from baton.core.release import Mode, Release
from baton.serving.release_file import LOCK_FILE, RELEASE_FILE, read_release, write_release

RELEASE = Release(model="flights", epoch=3, version="7", champion="a" * 64, challenger="b" * 64, mode=Mode.CANARY)


def test_a_release_is_read_back_as_written(tmp_path):
    write_release(tmp_path, RELEASE)

    assert read_release(tmp_path) == RELEASE
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [LOCK_FILE, RELEASE_FILE]


def test_a_writer_that_was_paused_does_not_take_serving_back(tmp_path):
    write_release(tmp_path, RELEASE)
    write_release(tmp_path, replace(RELEASE, epoch=2, version="6"))

    assert read_release(tmp_path) == RELEASE


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
        (b'"format":1', b'"format":2'),
        (b"canary", b"parrot"),
        (b'"version":"7"', b'"strange":"7"'),
        (b"{", b"["),
        (b"{", b"\xff"),
    ],
    ids=["edited", "of another format", "of an unknown mode", "with an unknown key", "not JSON", "not UTF-8"],
)
def test_a_pointer_that_was_not_written_is_refused(tmp_path, old, new):
    path = write_release(tmp_path, RELEASE)
    path.write_bytes(path.read_bytes().replace(old, new, 1))

    with pytest.raises(IntegrityBroken, match=r"release\.json is refused"):
        read_release(tmp_path)
