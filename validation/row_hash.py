"""One number for each row, the same in every process and with every version of pandas.

A value is turned into 64 bits: a number's are those of its double, a moment's
its nanoseconds since 1970, a text's the BLAKE2b of its UTF-8. The columns' bits
are mixed into one another with SplitMix64 (Steele, Lea and Flood, 2014). Two
different rows have one hash with a chance of 2^-64: among 300,000 and 10,000
rows, any two with one of 2e-10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from baton.core.errors import SourceMissing, listed

if TYPE_CHECKING:
    import pandas as pd

Hashes = NDArray[np.uint64]

HASH_BYTES = 8
# A text without a letter, a NaN and a moment that is none are one value.
MISSING = ""
# Changing anything here changes every hash: raise the version, and kept hashes are told from new ones.
VERSION = "baton-row-1"
# SplitMix64's own constants.
_STEP, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def row_hashes(frame: pd.DataFrame, columns: Sequence[str]) -> Hashes:
    """Hash each row's values of some columns; the order of rows and columns and the index do not count.

    Equal values are equal whatever holds them: 1 and 1.0, +0 and -0, a moment
    in any zone, a text in any string type.

    Returns:
        Shape `(len(frame),)`.

    Raises:
        SourceMissing: A column is not there.
    """
    if missing := [name for name in columns if name not in frame.columns]:
        raise SourceMissing(
            what="rows cannot be hashed", why=f"there is no column {listed(missing)}", fix="build the snapshot again"
        )
    found = np.full(len(frame), _text_bits(VERSION), dtype=np.uint64)
    for name in sorted(columns):
        found = _mixed(found ^ _mixed(_bits(frame[name]) + _text_bits(name)))
    return found


def _bits(column: pd.Series) -> Hashes:
    kind = column.dtype.kind
    if kind == "M":
        return _moments(column)
    if kind in "biuf":
        return _numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return _texts(column)


def _moments(column: pd.Series) -> Hashes:
    moments = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
    bits: Hashes = moments.to_numpy(dtype="datetime64[ns]").view(np.uint64)
    return np.where(moments.isna(), _text_bits(MISSING), bits)


def _numbers(numbers: NDArray[np.float64]) -> Hashes:
    # Adding 0 turns -0 into +0.
    bits: Hashes = (numbers + 0.0).view(np.uint64)
    # NaN has many bit patterns.
    return np.where(np.isnan(numbers), _text_bits(MISSING), bits)


def _texts(column: pd.Series) -> Hashes:
    codes, values = column.factorize()
    # A missing value has code -1, which is the last.
    bits = np.array([_text_bits(str(value)) for value in [*values, MISSING]], dtype=np.uint64)
    return np.take(bits, codes)


def _text_bits(text: str) -> np.uint64:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mixed(bits: Hashes) -> Hashes:
    """Spread every bit over all bits, one to one."""
    mixed = bits + _STEP
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed
