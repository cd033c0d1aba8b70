"""False retrainings without drift, faults found within days, and ten million rows in bounded memory.

Fifty features are simulated day by day (`served_days`): four shapes of
numbers and texts of six to forty-two values, with weekdays, days that share
their luck, and missing values. The reference is 84 days of the same world.
Baton looks once a day, with its defaults; what it retrains on is what counts,
an alarm on two of three days. Beside it, on the same rows and with the same
two of three days: Evidently's default test of each column ("any column" and
"half of the columns", its preset's rule), and NannyML's default limits of
three standard deviations.

    make bench-drift             a table
    make bench-drift JSON=1      one JSON object a line
    REPEATS=100                  worlds in which faults are looked for (20)
    FULL=1                       every size for three worlds, and a hundred worlds of faults
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from drift_peers import HALF, Evidently, NannyStyle, evidently_seconds
from printed import Line, print_parts
from served_days import BEGIN, NUMBER, REFERENCE_DAYS, TEXT, Fault, World, end_of

from baton.core.drift_report import DriftReport
from baton.core.policy import DriftSpec
from baton.core.profile import SCORE, Profile, profile
from baton.monitoring.alarm import event
from baton.monitoring.drift import judge_counts
from baton.monitoring.window_counts import FineBins, WindowCounts, count, fine_bins, join

FULL = bool(os.environ.get("FULL"))
REPEATS = int(os.environ.get("REPEATS", "100" if FULL else "20"))
QUIET_WORLDS = 3 if FULL else 1
POLICY = DriftSpec(minimum_rows=200)
QUIET_DAYS, FAULT_DAYS, SLOW_DAYS = 90, 3, 30
# Evidently takes two seconds for a look: it looks at these many worlds and on every so-manieth day.
PEER_WORLDS, EVIDENTLY_EVERY = 2, 9
MILLION, TEN_MILLION, BATCH = 1_000_000, 10_000_000, 250_000
EVIDENTLY_HOLDS = 100_000
FAULTS = (
    Fault(name="shift of 0.5 sd", shift=0.5),
    Fault(name="10 % new missing", missing=0.1),
    Fault(name="10 % out of range", out_of_range=0.1),
    Fault(name="new 10 % category", new_value=0.1),
)
SLOW = Fault(name="0.01 sd a day", shift_a_day=0.01)


def scored(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the rows with the answers of a model of two of the features."""
    drive = rows["n00"].clip(-9, 9).fillna(0.0) + rows["n04"].fillna(0.0)
    return rows.assign(**{SCORE: 1 / (1 + np.exp(-drive))})


@dataclass
class Watch:
    """A model's reference, and the days that have been counted since."""

    world: World
    reference: pd.DataFrame
    days: pd.Series
    frozen: Profile
    bins: dict[str, FineBins]
    parts: list[WindowCounts] = field(default_factory=list)
    reports: list[DriftReport] = field(default_factory=list)

    @classmethod
    def begin(cls, seed: int, rows: int) -> Watch:
        """Freeze the reference of a world."""
        world = World(seed, rows=rows)
        reference = world.reference()
        days = reference.pop("day")
        answered = scored(reference)
        frozen = profile(
            reference,
            answered[SCORE].to_numpy(),
            text=[str(name) for name in reference if str(name).startswith("t")],
            days=np.datetime64(BEGIN.date()) + days.to_numpy().astype("timedelta64[D]"),
        )
        return cls(world, reference, days, frozen, fine_bins(frozen))

    def fork(self) -> Watch:
        """Give another future of the same past."""
        return Watch(self.world, self.reference, self.days, self.frozen, self.bins, [*self.parts], [*self.reports])

    def look(self, index: int, rows: pd.DataFrame) -> DriftReport:
        """Count a day, and judge the window that ends with it."""
        moments = pd.Series(pd.to_datetime([end_of(index) - timedelta(hours=12)] * len(rows)))
        columns = {str(name): values for name, values in scored(rows).items()}
        self.parts = [*self.parts, count(columns, moments, self.bins, end=end_of(index), days=1)][-POLICY.window_days :]
        start = end_of(index - len(self.parts))
        report = judge_counts(join(self.parts), self.frozen, POLICY, model="m", digest="d", start=start)
        self.reports.append(report)
        return report


class Persistent:
    """Whether something that looks once a day says so on two of three days."""

    def __init__(self) -> None:
        self._said: list[bool] = []
        self.times = 0

    def add(self, *, drifted: bool) -> bool:
        """Take a day's word; give whether it has lasted, and count when it first has."""
        before = sum(self._said[-POLICY.persistence_of :]) >= POLICY.persistence_days
        self._said.append(drifted)
        now = drifted and sum(self._said[-POLICY.persistence_of :]) >= POLICY.persistence_days
        self.times += now and not before
        return now


def no_drift() -> Iterator[Line]:
    """Retrainings in 90 days without drift, and looks with any alarm."""
    for rows in (100, 1_000, 5_000):
        for seed in range(QUIET_WORLDS):
            yield from _quiet(seed, rows)


def _quiet(seed: int, rows: int) -> Iterator[Line]:
    watch = Watch.begin(seed, rows)
    nanny = NannyStyle(watch.reference, watch.days)
    keys, alarms, others, looks = set[str](), 0, Persistent(), 0
    evidently, columns, halves = Evidently(watch.reference), [0], 0
    for index in range(REFERENCE_DAYS, REFERENCE_DAYS + QUIET_DAYS):
        today = watch.world.day(index)
        alarms += watch.look(index, today).drifted
        found = event(watch.reports, POLICY)
        keys |= {found.key} if found else set()
        others.add(drifted=bool(nanny.drifted(today)))
        if index % EVIDENTLY_EVERY == 0:
            looks += 1
            columns.append(len(evidently.drifted(today)))
            halves += columns[-1] >= HALF * today.shape[1]
    yield {
        "bench": "drift",
        "rows_a_day": rows,
        "world": seed,
        "days": QUIET_DAYS,
        "false_retrainings": len(keys),
        "looks_with_alarm": alarms,
        "nannyml_style_false_retrainings": others.times,
        "evidently_looks": looks,
        "evidently_looks_with_any_column": sum(each > 0 for each in columns),
        "evidently_looks_with_half": halves,
    }


def found_faults() -> Iterator[Line]:
    """Faults in one of fifty features, found within three days at 1,000 rows a day (slow ones within thirty)."""
    found: dict[str, list[float | None]] = {fault.name: [] for fault in (*FAULTS, SLOW)}
    peers: dict[str, dict[str, list[bool]]] = {fault.name: {"evidently": [], "nannyml": []} for fault in FAULTS}
    for seed in range(REPEATS):
        watch = Watch.begin(1_000 + seed, 1_000)
        begin = REFERENCE_DAYS + POLICY.window_days
        for index in range(REFERENCE_DAYS, begin):
            watch.look(index, watch.world.day(index))
        for fault in FAULTS:
            days = [watch.world.day(begin + day, fault=fault, since=begin) for day in range(FAULT_DAYS)]
            found[fault.name].append(_found(watch.fork(), begin, days, at=TEXT if fault.new_value else NUMBER))
            if seed < PEER_WORLDS:
                for name, said in _peers(watch, days, at=TEXT if fault.new_value else NUMBER).items():
                    peers[fault.name][name].append(said)
        if seed < max(REPEATS // 4, 3):
            slow = [watch.world.day(begin + day, fault=SLOW, since=begin) for day in range(SLOW_DAYS)]
            found[SLOW.name].append(_found(watch.fork(), begin, slow, at=NUMBER))
    for name, days_to in found.items():
        hits = [day for day in days_to if day is not None]
        theirs = peers.get(name, {"evidently": [], "nannyml": []})
        yield {
            "bench": "drift",
            "fault": name,
            "repeats": len(days_to),
            "detection_rate": round(len(hits) / len(days_to), 4),
            "median_days": float(np.median(hits)) if hits else None,
            "evidently_rate": _share(theirs["evidently"]),
            "nannyml_style_rate": _share(theirs["nannyml"]),
            "peer_repeats": len(theirs["evidently"]),
        }


def _share(said: list[bool]) -> float | None:
    return round(float(np.mean(said)), 4) if said else None


def _found(watch: Watch, begin: int, days: list[pd.DataFrame], *, at: str) -> float | None:
    """Give the day on which a retraining is asked for with the right feature named, counted from the fault's first."""
    for day, rows in enumerate(days):
        watch.look(begin + day, rows)
        asked = event(watch.reports, POLICY)
        if asked and at in asked.fired:
            return day + 1
    return None


def _peers(watch: Watch, days: list[pd.DataFrame], *, at: str) -> dict[str, bool]:
    """Say whether the others name the feature on two of the three days."""
    looks: dict[str, Callable[[pd.DataFrame], list[str]]] = {
        "evidently": Evidently(watch.reference[[at]]).drifted,
        "nannyml": NannyStyle(watch.reference[[at]], watch.days).drifted,
    }
    said = {}
    for name, look in looks.items():
        lasting = Persistent()
        said[name] = any(lasting.add(drifted=at in look(rows[[at]])) for rows in days)
    return said


def a_million() -> Iterator[Line]:
    """A million rows in a day with a shift of 0.01 sd: nothing to retrain for."""
    watch = Watch.begin(77, 1_000)
    fault = Fault(name="0.01 sd", shift=0.01)
    world = World(78, rows=MILLION // 5, shared=0.0)
    parts = [world.day(REFERENCE_DAYS, fault=fault, since=REFERENCE_DAYS) for _ in range(5)]
    levels = [watch.fork().look(REFERENCE_DAYS, pd.concat(parts, ignore_index=True))]
    column = next(column for column in levels[0].columns if column.name == NUMBER)
    yield {
        "bench": "drift",
        "rows": MILLION,
        "shift_sd": 0.01,
        "psi": round(column.psi, 6),
        "p_value": column.p_value,
        "silent_1m": not levels[0].drifted,
    }


def ten_million() -> Iterator[Line]:
    """Ten million rows of fifty features from Parquet, and Evidently beside it on what it can hold."""
    watch = Watch.begin(99, 1_000)
    with tempfile.TemporaryDirectory() as folder:
        scored(World(98, rows=MILLION).day(REFERENCE_DAYS)).to_parquet(Path(folder) / "million.parquet")
        (Path(folder) / "profile.json").write_bytes(watch.frozen.to_json())
        told = subprocess.run([sys.executable, __file__, folder], check=True, capture_output=True, text=True)
    wall, megabytes = map(float, told.stdout.split())
    current = World(97, rows=EVIDENTLY_HOLDS).day(REFERENCE_DAYS)
    columns = {str(name): values for name, values in scored(current).items()}
    began = time.perf_counter()
    moments = pd.Series(pd.to_datetime([end_of(REFERENCE_DAYS) - timedelta(hours=12)] * EVIDENTLY_HOLDS))
    counted = count(columns, moments, watch.bins, end=end_of(REFERENCE_DAYS), days=1)
    judge_counts(counted, watch.frozen, POLICY, model="m", digest="d", start=BEGIN)
    ours = time.perf_counter() - began
    theirs = evidently_seconds(watch.reference, current)
    yield {
        "bench": "drift",
        "rows": TEN_MILLION,
        "wall_s": round(wall, 1),
        "rss_mb": round(megabytes),
        "same_rows": EVIDENTLY_HOLDS,
        "baton_s": round(ours, 2),
        "evidently_s": round(theirs, 2),
        "ratio_to_evidently": round(theirs / ours, 1),
    }


def stream(folder: Path) -> None:
    """Count and judge ten million rows, a file of a million read ten times, and print seconds and memory."""
    from baton.core.profile import profile_from_json
    from baton.monitoring.window_counts import count_file

    frozen = profile_from_json((folder / "profile.json").read_bytes())
    began = time.perf_counter()
    files = [folder / "million.parquet"] * (TEN_MILLION // MILLION)
    end = end_of(REFERENCE_DAYS)
    counted = count_file(files[0], fine_bins(frozen), end=end)
    for file in files[1:]:
        counted += count_file(file, fine_bins(frozen), end=end)
    report = judge_counts(counted, frozen, POLICY, model="m", digest="d", start=BEGIN)
    assert report.rows == TEN_MILLION
    print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        stream(Path(sys.argv[1]))
    else:
        print_parts([no_drift, found_faults, a_million, ten_million])
