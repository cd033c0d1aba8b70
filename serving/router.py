"""Which of two models answers an entity: the same one every time, and for a share that only grows as it ramps."""

from __future__ import annotations

from hashlib import blake2b

from baton.core.release import Mode, Release
from baton.core.rollout import Arm
from baton.serving.predictor import Predictor

POINT_BYTES = 8
POINTS = float(1 << 8 * POINT_BYTES)


def point(entity: str, salt: str) -> float:
    """Place an entity in [0, 1), evenly, and always at the same place for one salt."""
    digest = blake2b(entity.encode("utf-8", "surrogatepass"), digest_size=POINT_BYTES, key=salt.encode()[:64]).digest()
    return int.from_bytes(digest, "big") / POINTS


class Router:
    """The arms of one release; it never changes, so a request is routed by one release from end to end.

    An entity whose point is below the weight belongs to the challenger. At a
    constant weight nobody changes sides; as the weight grows, entities only
    come to the challenger; and a rollout of another salt draws others.
    """

    def __init__(self, release: Release, champion: Predictor, challenger: Predictor | None = None) -> None:
        self.release = release
        self.champion = champion
        self.challenger = challenger
        splits = challenger is not None and release.mode in {Mode.CANARY, Mode.AB, Mode.BLUE_GREEN}
        self.weight = release.weight if splits else 0.0
        # What is computed beside the champion and shown to nobody.
        self.shadow = challenger if release.mode is Mode.SHADOW else None

    def arm(self, entity: str) -> Predictor:
        """Give the predictor that answers an entity; takes about a microsecond, and less where only one may."""
        if self.challenger is None or self.weight <= 0:
            return self.champion
        if self.weight >= 1 or point(entity, self.release.salt) < self.weight:
            return self.challenger
        return self.champion

    def cohort(self, predictor: Predictor) -> Arm:
        """Name the arm of a predictor."""
        return Arm.CHALLENGER if predictor is self.challenger else Arm.CHAMPION
