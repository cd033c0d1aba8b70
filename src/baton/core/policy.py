"""The policies of a project file: how it trains, tests, judges, watches, retrains and serves."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
ColumnName = Annotated[str, Field(min_length=1, max_length=128)]

Task = Literal["binary", "multiclass", "regression"]
Metric = Literal["auc", "log_loss", "brier", "pr_auc", "macro_f1", "rmse", "mae", "pinball"]
# What each task can be judged by; an AUC of several classes is the mean of one against the rest.
METRICS: dict[Task, tuple[Metric, ...]] = {
    "binary": ("log_loss", "brier", "auc", "pr_auc", "macro_f1"),
    "multiclass": ("log_loss", "brier", "auc", "macro_f1"),
    "regression": ("rmse", "mae", "pinball"),
}


class Section(BaseModel):
    """A part of the project file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(Section):
    """Where the search looks for one number: whole where both ends are."""

    low: float = Field(description="Smallest value.")
    high: float = Field(description="Largest value.")
    log: bool = Field(False, description="Whether small values are looked at as closely as large ones.")

    @model_validator(mode="after")
    def _is_one(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range begins above 0, not at {self.low:g}")
        return self


class TuningSpec(Section):
    """A seeded search for parameters, on the newest training rows."""

    trials: int = Field(20, ge=1, description="Most trials.")
    seconds: float | None = Field(None, gt=0, description="Most time; a search that is cut short cannot be repeated.")
    validation_share: Share = Field(0.2, description="Newest share of the training rows that the trials are scored on.")
    space: dict[str, Range | list[Any]] = Field(
        min_length=1, description="Each parameter with its range, or a list of choices."
    )


class TrainingSpec(Section):
    """How a challenger is trained."""

    trainer: str = Field(
        "lightgbm",
        pattern=r"^([a-z0-9][a-z0-9._-]{0,63}|[\w./-]+\.py:[a-z_]\w*)$",
        description="Trainer by name, or `file.py:name` beside this file.",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="The trainer's own parameters.")
    window_days: int | None = Field(None, ge=1, description="Newest days to train on; all days where left out.")
    split: Literal["time", "random"] = Field(
        "time",
        description="How the holdout is cut: the newest days, or a seeded share of the rows where they have no time;"
        " what changes with time is then not judged, and the verdict says so.",
    )
    holdout_days: int = Field(28, ge=1, description="Newest days kept back for the gate.")
    holdout_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="Share of the rows kept back for the gate under `split: random`, the same rows for ever."
    )
    holdout_ends: Literal["as_of", "newest"] = Field(
        "as_of",
        description="Where the holdout's days end: at the moment of training, or at the `newest` labelled row, for a"
        " history that has ended.",
    )
    minimum_rows: int = Field(1_000, ge=1, description="Fewest labelled rows to train on.")
    group: ColumnName | None = Field(
        None, description="Feature whose rows stay together: a group of the holdout is not trained on."
    )
    calibration: Literal["none", "sigmoid", "isotonic"] = Field(
        "none", description="How probabilities are calibrated, on the newest training rows."
    )
    calibration_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="Newest share of the training rows that calibrate and are not fitted on."
    )
    tuning: TuningSpec | None = Field(None, description="A search for parameters; none where left out.")


class Invariance(Section):
    """A change of one feature that must not move the score."""

    feature: ColumnName = Field(description="Feature that is changed.")
    values: list[Any] = Field(min_length=1, description="Values that it is set to, one after the other.")
    tolerance: float = Field(0.01, ge=0, description="Largest mean change of the score.")


class Direction(Section):
    """A change of one feature that must move the score one way."""

    feature: ColumnName = Field(description="Numeric feature that is raised.")
    add: float = Field(description="What is added to it.")
    expect: Literal["up", "down"] = Field(description="Where the score must go.")
    share: Share = Field(0.9, description="Smallest share of rows whose score goes there or stays.")


class Minimum(Section):
    """A group of rows on which the model must be at least so good."""

    where: dict[ColumnName, Any] = Field(
        min_length=1, description="Each feature with a value, a list of values, or `{from: low, to: high}`."
    )
    metric: Metric = Field(description="What is measured.")
    at_least: float | None = Field(None, description="Smallest value.")
    at_most: float | None = Field(None, description="Largest value.")

    @model_validator(mode="after")
    def _says_something(self) -> Minimum:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("say either at_least or at_most")
        return self


class SliceSpec(Section):
    """Groups of rows on which a challenger must not be worse, however good it is on the whole."""

    columns: list[ColumnName] | None = Field(
        None, description="Features by whose values rows are grouped; all text features where left out."
    )
    drop: float = Field(0.05, gt=0, description="Drop that must be seen: five points of the slice's metric.")
    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Chance that clean slices hold back a challenger, over all of them."
    )
    power: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.9, description="Chance of seeing the drop from which a slice counts as powered; others are only reported."
    )
    most: int = Field(20, ge=1, description="Most slices, the largest first.")


class FairnessSpec(Section):
    """Gaps between subgroups."""

    columns: list[ColumnName] = Field(min_length=1, description="Features that name the subgroups.")
    measure: Literal["selection_rate", "true_positive_rate", "false_positive_rate", "error"] = Field(
        "true_positive_rate", description="What is compared between subgroups."
    )
    threshold: Share = Field(0.5, description="Score from which a row counts as selected.")
    gap: float = Field(0.1, gt=0, description="Largest gap between two subgroups.")
    minimum_rows: int = Field(200, ge=1, description="Fewest rows of a subgroup that counts.")


class BudgetSpec(Section):
    """What a challenger may cost, beside the champion."""

    latency_ratio: float = Field(5.0, gt=0, description="Largest single-row latency, in champion latencies.")
    size_ratio: float = Field(20.0, gt=0, description="Largest model file, in champion sizes.")
    memory_ratio: float = Field(10.0, gt=0, description="Largest resident memory of the loaded model, in champion's.")


class TestSpec(Section):
    """Model tests that a challenger must pass before it is judged."""

    # Not a test class, whatever its name looks like.
    __test__ = False

    invariance: list[Invariance] = Field(default_factory=list, description="Changes that must not move the score.")
    direction: list[Direction] = Field(default_factory=list, description="Changes that must move it one way.")
    minimum: list[Minimum] = Field(default_factory=list, description="Groups on which it must be good enough.")
    slices: SliceSpec = Field(SliceSpec(), description="Groups on which it must not be worse than the champion.")
    fairness: list[FairnessSpec] = Field(default_factory=list, description="Gaps between subgroups.")
    budget: BudgetSpec = Field(BudgetSpec(), description="What it may cost.")


class GateSpec(Section):
    """What a challenger must show."""

    intent: Literal["refresh", "replace"] = Field(
        "refresh",
        description="`refresh`: better on average and proven not worse than `margin`. `replace`: proven better.",
    )
    metric: Metric = Field("log_loss", description="What is compared.")
    quantile: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="Quantile of the pinball loss.")
    min_lift: float = Field(0.0, ge=0, description="Smallest mean gain worth shipping, in the metric's unit.")
    margin: float = Field(0.005, ge=0, description="How much worse the interval's low end may be under `refresh`.")
    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Chance of promoting what must not be, in total over `decisions` retrainings in a row."
    )
    decisions: int = Field(30, ge=1, description="Retrainings over which `error_rate` is spent evenly.")
    minimum_blocks: int = Field(14, ge=2, description="Fewest blocks on which a verdict is given.")
    promotion: Literal["automatic", "by_hand"] = Field(
        "automatic",
        description="Who promotes a challenger whose verdict is PROMOTE: the flow, or a person"
        " with `baton promote` or in MLflow.",
    )
    moved_alias: Literal["adopt", "enforce"] = Field(
        "adopt",
        description="What a champion alias that a person has moved in MLflow leads to:"
        " `adopt` promotes what may be promoted, `enforce` always moves it back.",
    )

    @property
    def alpha(self) -> float:
        """The one-sided error rate of one decision.

        Any `decisions` verdicts in a row err at most `error_rate` together, by
        Bonferroni's inequality, whether or not their holdouts overlap.
        """
        return self.error_rate / self.decisions


class DriftSpec(Section):
    """When a served window counts as moved."""

    limits: Literal["calibrated", "textbook"] = Field(
        "calibrated", description="By how the reference's own days differ, or `warn` and `alarm` for all columns."
    )
    retrain_on: Literal["any", "score"] = Field(
        "any", description="Whose alarm asks for a retraining: any column's, or the score's alone."
    )
    window_days: int = Field(28, ge=1, description="Days of served rows that are compared with the reference.")
    window_rows: int | None = Field(None, ge=1, description="Newest rows of these days that count; all where left out.")
    minimum_rows: int = Field(1_000, ge=1, description="Fewest served rows on which a limit counts.")
    warn: float = Field(0.10, gt=0, description="PSI that reports show as moved; textbook: that warns.")
    alarm: float = Field(0.25, gt=0, description="PSI that reports show as far; textbook: that alarms.")
    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Calibrated: chance that anything alarms without drift, over all columns and `looks`."
    )
    looks: int = Field(90, ge=1, description="Calibrated: daily looks over which `error_rate` is spent evenly.")
    effect: float = Field(0.02, ge=0, description="Calibrated: smallest PSI that counts, however significant.")
    effect_share: Share = Field(
        0.02, description="Calibrated: smallest growth of the missing or odd share that counts."
    )
    persistence_days: int = Field(2, ge=1, description="Days with an alarm before a retraining starts...")
    persistence_of: int = Field(3, ge=1, description="...among this many days in a row, the newest one of them.")

    @model_validator(mode="after")
    def _can_persist(self) -> DriftSpec:
        if self.persistence_days > self.persistence_of:
            raise ValueError("persistence_days are more than persistence_of")
        return self

    @property
    def alpha(self) -> float:
        """The chance that one look alarms on anything without drift, by Bonferroni's inequality."""
        return self.error_rate / self.looks


class RetrainingSpec(Section):
    """When a challenger is trained."""

    schedule: str = Field("0 6 1 * *", description="Cron expression, UTC.")
    cooldown_days: int = Field(14, ge=0, description="Days after a retraining in which drift starts no other.")


class ServingSpec(Section):
    """How the champion is served."""

    port: int = Field(3000, ge=1024, le=65535, description="Port on loopback.")
    max_batch_rows: int = Field(512, ge=1, description="Most rows that are scored together.")
    max_request_rows: int = Field(1_024, ge=1, description="Most rows of one request.")
    max_wait_ms: float = Field(2.0, ge=0, description="Longest that a row waits for others.")
    poll_seconds: float = Field(0.5, gt=0, description="How often the release pointer is read.")
    degrade_to: Literal["nothing", "previous", "cached", "constant"] = Field(
        "cached",
        description="What may answer, and says so, where the model fails, each with those before it: the `previous`"
        " champion, a `cached` answer to the same rows, the `constant` mean of the model's reference.",
    )

    online_ms: float = Field(20.0, gt=0, description="Longest that the features of entities are waited for.")
    online_fallback: Literal["defaults", "refuse"] = Field(
        "defaults",
        description="What becomes of a request for entities while their features cannot be fetched: the `defaults` of"
        " the model's reference (median, most frequent text), and the answer says so; or `refuse`, a 503.",
    )
    online_unknown: Literal["missing", "defaults"] = Field(
        "missing",
        description="What an unknown entity has for features: `missing` values, as in training, or the `defaults`.",
    )

    @property
    def limits(self) -> dict[str, int | float | str]:
        """What the service is started with, beside its port."""
        return {name: value for name, value in self if name != "port"}


class RolloutSpec(Section):
    """How a challenger with a verdict of PROMOTE comes to be champion."""

    mode: Literal["champion", "shadow", "canary", "blue-green", "ab"] = Field(
        "champion",
        description="`champion`: at once. `shadow`: scored beside the champion, unseen. `canary`: a growing share of"
        " the entities. `ab`: a fixed share, the last of `steps`. `blue-green`: all at once, and back at once.",
    )
    shadow: bool = Field(False, description="Whether a canary begins as a shadow.")
    steps: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: [0.01, 0.05, 0.25, 0.5, 1.0], min_length=1, description="Shares of a canary, growing."
    )
    minimum_requests: int = Field(200, ge=1, description="Fewest requests of the challenger at each step.")
    errors: Share = Field(0.01, description="Largest growth of the share of failed requests that may be promoted.")
    latency_ratio: float = Field(2.0, ge=1, description="What counts as slow, in 95th percentiles of the champion.")
    slow: Share = Field(0.05, description="Largest growth of the share of slow requests that may be promoted.")
    score_shift: float = Field(
        0.5, gt=0, description="Largest shift of the mean score, in the champion's standard deviations."
    )
    labels: int = Field(0, ge=0, description="Fewest labelled answers of the challenger that are waited for.")
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.01, description="Chance of rolling back a challenger that is no worse, however often one looks."
    )
    beta: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Chance of promoting one that is worse than allowed, however often one looks."
    )
    timeout_hours: float = Field(24, gt=0, description="Time without a decision after which it is rolled back.")

    @model_validator(mode="after")
    def _grows(self) -> RolloutSpec:
        if sorted(set(self.steps)) != self.steps:
            raise ValueError("steps grow, each above the one before")
        return self
