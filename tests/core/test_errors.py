"""An error is one line that says what, why and what to do, and it survives a process boundary."""

from __future__ import annotations

import pickle

import pytest

from baton.core import errors
from baton.core.errors import BatonError, Conflict, listed

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BatonError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_is_one_line_with_a_documented_exit_code(kind: type[BatonError]) -> None:
    error = kind(what="a\nb", why="c.", fix="d")
    assert str(error) == "a b: c. D."
    assert error.exit_code in {1, 2, 3, 4, 5}


def test_an_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(Conflict(what="a", why="b", fix="c")))
    assert isinstance(error, Conflict)
    assert error.fix == "c"


def test_long_lists_are_bounded() -> None:
    assert listed(range(20)) == "0, 1, 2, 3, 4, 5, 6, 7 ... and 12 more"
    assert listed([]) == ""
