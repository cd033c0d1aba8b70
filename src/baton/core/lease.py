"""The right to act under a name for a while, and the number that shows who had it last."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One acquisition of a name.

    `token` grows by one with each acquisition of the name, so of two holders
    the one with the smaller token is the one that was replaced. `seconds` is
    how long the lease lasts without being renewed.
    """

    name: str
    holder: str
    token: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """What became of a name's newest lease; `seconds_left` is 0 where it has expired or was given back."""

    name: str
    holder: str
    token: int
    seconds_left: float

    @property
    def expired(self) -> bool:
        """Whether anybody may take the name."""
        return self.seconds_left <= 0
