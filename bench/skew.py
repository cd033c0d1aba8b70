"""Skew by replay: planted faults on the flights of January, what each is named, and after how many requests.

    make bench-skew                tables
    make bench-skew JSON=1         one JSON object a line

Honest requests of the month's third week have their features from the feature
store, as of their moment. A fault changes what some features were served as;
the replay sees what was served and what has landed, nothing else. `requests`
is the smallest number from which on the fault is named in every feature that
has it, and no other feature is. A window's wrong boundary is planted by
counting departures again with a loop of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from printed import Line, print_parts

from baton.core.spec import ModelSpec, load_spec
from baton.features.feast_store import FeastFeatureStore
from baton.features.source import Definitions, load_definitions, read_tables
from baton.flows.skew_replay import compare
from baton.monitoring.skew import Fault
from baton.settings import Settings, quiet_vendors

FLIGHTS = Path(__file__).parents[1] / "examples" / "flights"
START, END = pd.Timestamp("2013-01-15T05:00Z"), pd.Timestamp("2013-01-22T05:00Z")
SIZES = (50, 100, 300, 1_000)
CLEAN = 10
RATES = ["tail_last_arr_delay", "dest_arr15_24h", "origin_depmean_3h"]
COUNTS = ["origin_departures_3h", "origin_depmean_3h"]
HOUR = pd.Timedelta(hours=1)
STOPPED = START + 60 * HOUR

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What has landed, the store that holds its features, and honest requests of a week."""

    spec: ModelSpec
    tables: Tables
    definitions: Definitions
    store: FeastFeatureStore
    rows: pd.DataFrame

    def requests(self, seed: int, count: int) -> pd.DataFrame:
        """Draw requests, served as training sees them."""
        drawn = self.rows.sample(count, random_state=seed).reset_index(drop=True)
        moment = self.spec.prediction.moment
        served = self.store.historical(drawn, moment=moment)
        return served.assign(entity=served[self.spec.prediction.id], moment=served[moment])

    def as_of(self, served: pd.DataFrame, moments: pd.Series) -> pd.DataFrame:
        """Give the views' values as of other moments."""
        return self.store.historical(served[list(self.spec.features.entities)].assign(at=moments), moment="at")


def main() -> None:
    """Plant one fault after the other, and none."""
    with tempfile.TemporaryDirectory(prefix="bench-skew-") as folder:
        quiet_vendors(Settings(home=Path(folder)))
        world = _world(Path(folder))

        def planted() -> Iterator[Line]:
            """Planted faults: named after so many requests."""
            return _planted(world)

        def clean() -> Iterator[Line]:
            """Honest requests: named without a fault."""
            return _clean(world)

        print_parts([planted, clean])


def _planted(world: World) -> Iterator[Line]:
    for name, (fault, features, plant) in FAULTS.items():
        served = plant(world, world.requests(1, SIZES[-1]), features)
        needed, names = None, []
        for count in reversed(SIZES):
            found = _named(world, served.head(count))
            if count == SIZES[-1]:
                names = sorted(set(found.values()))
            if found != dict.fromkeys(features, fault.value):
                break
            needed = count
        yield {
            "bench": "skew",
            "planted": name,
            "features": len(features),
            "named": ", ".join(names) or "nothing",
            "right": needed is not None,
            "requests": needed,
        }


def _clean(world: World) -> Iterator[Line]:
    names = sum(len(_named(world, world.requests(100 + seed, SIZES[-1]))) for seed in range(CLEAN))
    yield {"bench": "skew", "planted": "none", "samples": CLEAN, "requests": SIZES[-1], "false_names": names}


def _named(world: World, served: pd.DataFrame) -> dict[str, str]:
    report = compare(world.spec, world.tables, world.definitions, served, as_of=END.to_pydatetime())
    return {skew.feature: skew.fault.value for skew in report.skews}


def _world(folder: Path) -> World:
    spec = load_spec(FLIGHTS)
    tables = {
        name: table[table[spec.source.tables[name].known_time] < END].reset_index(drop=True)
        for name, table in read_tables(spec).items()
    }
    definitions, store = load_definitions(spec), FeastFeatureStore(folder / "feast", spec)
    store.publish(definitions.views(tables, as_of=END.to_pydatetime()))
    rows = definitions.request(tables)
    moment = rows[spec.prediction.moment]
    return World(
        spec=spec,
        tables=tables,
        definitions=definitions,
        store=store,
        rows=rows[(moment >= START) & (moment < END)],
    )


def _zone(hours: float) -> Callable[[World, pd.DataFrame, list[str]], pd.DataFrame]:
    def plant(world: World, served: pd.DataFrame, features: list[str]) -> pd.DataFrame:
        shifted = world.as_of(served, served["moment"] + hours * HOUR)
        return served.assign(**{name: shifted[name] for name in features})

    return plant


def _stopped(world: World, served: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    shifted = world.as_of(served, served["moment"].where(served["moment"] < STOPPED, STOPPED))
    return served.assign(**{name: shifted[name] for name in features})


def _behind(world: World, served: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    shifted = world.as_of(served, served["moment"] - 100 * pd.Timedelta(minutes=1))
    return served.assign(**{name: shifted[name] for name in features})


def _clock(_: World, served: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    return served.assign(**{name: (served[name] + 300) % 1_440 for name in features})


def _scaled(by: float, add: float = 0.0) -> Callable[[World, pd.DataFrame, list[str]], pd.DataFrame]:
    def plant(_: World, served: pd.DataFrame, features: list[str]) -> pd.DataFrame:
        return served.assign(**{name: (served[name] * by + add).astype(np.float32) for name in features})

    return plant


def _filled(value: float) -> Callable[[World, pd.DataFrame, list[str]], pd.DataFrame]:
    def plant(_: World, served: pd.DataFrame, features: list[str]) -> pd.DataFrame:
        return served.assign(**{name: served[name].fillna(value) for name in features})

    return plant


def _boundary(world: World, served: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    """Count and average departures from three hours before the hour on, and up to before it, the other way round."""
    departures = world.tables["departures"]
    values: dict[str, list[float]] = {name: [] for name in features}
    for origin, moment in zip(served["origin"], served["moment"], strict=True):
        step = moment.floor("h")
        known = departures["known_time"]
        inside = departures[(departures["origin"] == origin) & (known >= step - 3 * HOUR) & (known < step)]
        values["origin_departures_3h"].append(float(len(inside)))
        values["origin_depmean_3h"].append(float(inside["dep_delay"].mean()))
    return served.assign(**values)


FAULTS: dict[str, tuple[Fault, list[str], Callable[[World, pd.DataFrame, list[str]], pd.DataFrame]]] = {
    "New York's clock read as UTC": (Fault.TIME_ZONE, RATES, _zone(-5)),
    "UTC read as New York's clock": (Fault.TIME_ZONE, RATES, _zone(5)),
    "minutes of the day in UTC": (Fault.TIME_ZONE, ["minute_of_day"], _clock),
    "rates in percent": (Fault.UNIT, ["dest_arr15_24h", "route_arr15_28d"], _scaled(100)),
    "kilometres for miles": (Fault.UNIT, ["distance"], _scaled(1.609344)),
    "Celsius for Fahrenheit": (Fault.UNIT, ["weather_temp"], _scaled(5 / 9, -160 / 9)),
    "0 where nothing is known": (Fault.NULL_DEFAULT, ["weather_wind_gust", "tail_last_arr_delay"], _filled(0.0)),
    "-1 where nothing is known": (Fault.NULL_DEFAULT, ["plane_age"], _filled(-1.0)),
    "windows without their end": (Fault.WINDOW_BOUNDARY, COUNTS, _boundary),
    "a store that stopped being filled": (Fault.STALENESS, RATES, _stopped),
    "a store 100 minutes behind": (Fault.STALENESS, RATES, _behind),
}


if __name__ == "__main__":
    main()
