"""What both arms of a rollout turned out to be worth, from the labels that have arrived."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from baton.core.errors import EmptyWindow
from baton.core.release import Mode
from baton.core.rollout import Arm, Stage, Sums, Tally
from baton.registry.rollout_plan import Rollout

if TYPE_CHECKING:
    from baton.compose import Platform
    from baton.core.policy import Metric

# Its losses belong to no one step: labels come when they come.
LABELLED = -1
# A mean over rows that says what a metric that is none would say.
BY_TASK: dict[str, Metric] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mae"}
MEANS = frozenset({"log_loss", "brier", "mae", "pinball"})


def labelled_stage(platform: Platform, rollout: Rollout, *, now: datetime) -> tuple[Stage, ...]:
    """Give the losses of both arms' answers whose labels are known at `now`; nothing where none is.

    The answers are those of the prediction log since the start, told apart by
    cohort and digest; a label joins by the entity, as everywhere.
    """
    if rollout.present.mode is Mode.SHADOW or not platform.predictions.is_dir() or not platform.spec.rollout.labels:
        return ()
    from baton.monitoring.labels import attach
    from baton.monitoring.prediction_window import answers_of, read_predictions
    from baton.serving.feedback_store import read_labels
    from baton.training.metrics import row_losses

    spec = platform.spec
    try:
        window = read_predictions(platform.predictions, start=rollout.started_at, end=now)
    except EmptyWindow:
        return ()
    labels = platform.landing.read(spec.label.table, as_of=now)
    known = attach(
        window,
        labels,
        key=spec.prediction.id,
        label=spec.label.column,
        as_of=now,
        classes=spec.label.classes,
        told=read_labels(platform.folder, as_of=now).to_pandas(),
    ).dropna(subset=["label"])
    stage = Stage(revision=LABELLED)
    metric = spec.gate.metric if spec.gate.metric in MEANS else BY_TASK[spec.task]
    for arm, digest in ((Arm.CHAMPION, rollout.champion), (Arm.CHALLENGER, rollout.challenger)):
        rows = known[(known["cohort"] == arm.value) & (known["digest"] == digest)]
        if len(rows):
            losses = row_losses(
                metric,
                rows["label"].to_numpy(dtype="float64"),
                answers_of(rows, classes=spec.label.classes),
                quantile=spec.gate.quantile,
            )
            tally: Tally = stage.of(arm)
            tally.losses.join(_sums(losses.tolist()))
    return (stage,)


def _sums(values: list[float]) -> Sums:
    sums = Sums()
    sums.add(values)
    return sums
