"""Generated rows with text, missing values and rare categories, and both shapes of pipeline fitted on them."""

import numpy as np
import pandas as pd
import pytest

from baton.core.bundle import Field
from baton.core.profile import profile

TEXTS = ("carrier", "origin")
NUMBERS = ("distance", "delay", "wind")
FIELDS = (
    *(Field(name=name, kind="text") for name in TEXTS),
    *(Field(name=name, kind="number") for name in NUMBERS),
)


def _rows(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "carrier": rng.choice(["AA", "UA", "B6", "", "rare"], p=[0.4, 0.3, 0.19, 0.1, 0.01], size=count),
            "origin": rng.choice(["EWR", "JFK", "LGA"], size=count),
            # Never missing, so that LightGBM treats a missing value as 0.
            "distance": rng.uniform(-50, 2500, size=count),
            "delay": rng.normal(5, 30, size=count),
            "wind": rng.gamma(2, 5, size=count),
        }
    )
    frame.loc[rng.random(count) < 0.2, "delay"] = np.nan
    frame.loc[rng.random(count) < 0.5, "wind"] = np.nan
    for name in NUMBERS:
        frame[name] = frame[name].astype("float32").astype("float64")
    logit = frame["delay"].fillna(0) / 20 + (frame["carrier"] == "UA") - frame["distance"] / 2000
    return frame, (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(int).to_numpy()


def _trees():
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = ColumnTransformer([("text", ordinal, list(TEXTS)), ("number", "passthrough", list(NUMBERS))])
    model = LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, random_state=0, verbose=-1)
    return Pipeline([("encode", encode), ("model", model)])


def _linear():
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=50)
    filled = Pipeline([("impute", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    encode = ColumnTransformer([("text", one_hot, list(TEXTS)), ("number", filled, list(NUMBERS))])
    return Pipeline([("encode", encode), ("model", LogisticRegression(max_iter=1000))])


@pytest.fixture(scope="session")
def fields():
    return FIELDS


@pytest.fixture(scope="session")
def holdout():
    return _rows(1_500, seed=2)[0]


@pytest.fixture(scope="session")
def trees():
    frame, label = _rows(3_000, seed=1)
    return _trees().fit(frame, label)


@pytest.fixture(scope="session")
def linear():
    frame, label = _rows(3_000, seed=1)
    return _linear().fit(frame, label)


@pytest.fixture(scope="session", params=["trees", "linear"])
def pipeline(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def reference(trees, holdout):
    return profile(holdout, trees.predict_proba(holdout)[:, 1], text=TEXTS)
