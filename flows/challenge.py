"""One challenger from rows to verdict to champion, step by step.

    freeze -> train -> judge -> register -> settle

Each step takes values and gives values, and gives the same again when it is
repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from baton.core.release import Release
from baton.core.run import Run
from baton.core.spec import ModelSpec, spec_from
from baton.flows.model_testing import learnt, tests_of
from baton.flows.provenance import provenance
from baton.flows.run_record import code_digest
from baton.flows.sealed_model import facts, recipe, score
from baton.registry.arguments import Arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from baton.compose import Platform
    from baton.core.lease import Lease
    from baton.core.ledger_entry import LedgerEntry
    from baton.core.snapshot import Snapshot
    from baton.core.verdict import Verdict
    from baton.flows.trained import Trained
    from baton.packaging.reader import Contents
    from baton.registry.reconcile import Reconciled


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The gate's verdict, and the champion's scores on the holdout where there was a champion."""

    verdict: Verdict
    champion_scores: NDArray[np.float64] | None


def vary(spec: ModelSpec, overrides: Mapping[str, Mapping[str, Any]]) -> ModelSpec:
    """Give the specification with some sections changed, checked like the file itself."""
    content = spec.model_dump(mode="json")
    for section, values in overrides.items():
        content[section] = {**content[section], **values}
    varied = spec_from(content, origin="the varied project file")
    varied._folder = spec.folder
    return varied


def freeze(platform: Platform, *, as_of: datetime) -> Snapshot:
    """Refresh the features and freeze every labelled row known at the moment."""
    from baton.features import snapshot

    ready = snapshot.frozen(platform.spec, platform.landing, as_of=as_of, folder=platform.snapshots)
    if ready is not None:
        return ready
    snapshot.refresh(platform.spec, platform.landing, platform.definitions, platform.store, as_of=as_of)
    return snapshot.freeze(
        platform.spec,
        platform.landing,
        platform.definitions,
        platform.store,
        as_of=as_of,
        folder=platform.snapshots,
    )


def judge(
    platform: Platform, spec: ModelSpec, trained: Trained, *, as_of: datetime, now: datetime | None = None
) -> Judgement:
    """Compare the challenger's twin with the champion on the same days.

    `refresh` is for the champion's own recipe on newer data; another recipe
    has to be proven better, whatever model.yaml says.
    """
    from baton.registry.evidence import judge as judge_by
    from baton.validation.slices import slice_masks

    head = platform.ledger.head(spec.name)
    if head and head.digest == trained.bundle.digest and head.at == as_of:
        # This very run has promoted it, and died before it could say so.
        kept = platform.ledger.verdict(head.verdict_id)
        if kept is not None:
            return Judgement(verdict=kept, champion_scores=None)
    champion = rival(platform, spec, head, holdout_start=trained.holdout_start) if head else None
    same = champion is not None and facts(champion)["recipe"] == recipe(spec)
    seen = learnt(platform, spec, trained, champion)
    scores = score(champion, trained.holdout) if champion else None
    arguments = Arguments(
        gate=spec.gate if same or champion is None else spec.gate.model_copy(update={"intent": "replace"}),
        slicing=spec.tests.slices,
        task=spec.task,
        model=spec.name,
        labels=trained.labels,
        blocks=trained.holdout["block"].to_numpy(),
        challenger=trained.bundle.digest,
        challenger_scores=trained.scores,
        challenger_trained_until=datetime.fromisoformat(facts(trained.twin)["trained_until"]),
        champion=head.digest if head else None,
        champion_scores=scores,
        champion_trained_until=datetime.fromisoformat(facts(champion)["trained_until"]) if champion else None,
        baselines={**trained.baselines, "constant": _constant(trained)},
        slices=slice_masks(spec.tests.slices, trained.holdout, spec.features.text) if champion else {},
        tests=tests_of(platform, spec, trained, seen=seen, rival=champion, served=head.digest if head else None),
        epoch=head.epoch if head else 0,
        holdout=trained.evaluation.holdout,
        holdout_start=trained.holdout_start,
        shared_rows={who: int(rows.sum()) for who, rows in seen.items() if rows is not None},
        now=now or as_of,
    )
    return Judgement(verdict=judge_by(platform.evidence, arguments), champion_scores=scores)


def _constant(trained: Trained) -> NDArray[np.float64]:
    """Give the constant baseline as what it is: one number, or one for each class."""
    return np.asarray(trained.baselines["constant"][0])


def register(
    platform: Platform,
    spec: ModelSpec,
    *,
    snapshot: Snapshot,
    trained: Trained,
    judgement: Judgement,
    key: str,
    trigger: str,
    as_of: datetime,
) -> str:
    """Log the run with its plots and register its version; point the alias `challenger` at it."""
    from baton.registry.figures import draw_figures

    platform.ledger.store_verdict(judgement.verdict)
    run = Run(
        key=key,
        name=f"{as_of:%Y-%m-%d} {trigger.partition(':')[0]}",
        snapshot=snapshot,
        evaluation=trained.evaluation,
        verdict=judgement.verdict,
        bundle=trained.bundle,
        parameters={
            "trainer": spec.training.trainer,
            **spec.training.parameters,
            **trained.tuned,
            **trained.left_out,
            **_window(spec),
        },
        tags={
            "baton.trigger": trigger,
            "baton.code": code_digest(spec.folder),
            "baton.config": spec.digest,
            "baton.question": spec.question,
            **provenance(spec.folder),
        },
        figures=draw_figures(
            platform.folder / "figures" / key[:16],
            labels=trained.labels,
            challenger=trained.scores,
            champion=judgement.champion_scores,
            evaluation=trained.evaluation,
            verdict=judgement.verdict,
            task=spec.task,
            classes=spec.label.classes,
        ),
        tables={"trials": trained.trials},
    )
    version = platform.registry.register(spec.name, run)
    platform.registry.set_alias(spec.name, "challenger", version)
    return version


def settle(
    platform: Platform,
    spec: ModelSpec,
    verdict: Verdict,
    *,
    version: str,
    reason: str,
    now: datetime,
    actor: str = "baton",
    override: str | None = None,
    lease: Lease | None = None,
) -> LedgerEntry | None:
    """Promote on a verdict of PROMOTE, or for the reason of an override, and show it; None where nothing moved."""
    from baton.packaging.bom import refuse_strange_packages
    from baton.registry.promotion import promote

    if not verdict.promotes and override is None:
        return None
    if override is None:
        refuse_strange_packages(_usable(platform, verdict.challenger))
    entry = promote(
        platform.ledger,
        verdict,
        version=version,
        digest=verdict.challenger,
        actor=actor,
        reason=reason,
        now=now,
        override=override,
        lease=lease,
    )
    project(platform, spec)
    return entry


def project(platform: Platform, spec: ModelSpec) -> Reconciled:
    """Make serving, ledger and MLflow's aliases say the same; safe at any time, by anyone.

    What a person has moved in MLflow is adopted where it may be served, and
    put back with the reason where not.
    """
    from baton.registry.reconcile import reconcile

    # Serving first: callers need the champion, people can wait for the alias.
    release(platform, spec)
    done = reconcile(
        spec.name,
        platform.ledger,
        platform.registry,
        usable=partial(_usable, platform),
        now=datetime.now(timezone.utc),
        policy=spec.gate.moved_alias,
    )
    # Again: somebody, here or elsewhere, may have been adopted meanwhile.
    release(platform, spec)
    return done


def foresee(platform: Platform, spec: ModelSpec) -> Reconciled:
    """Say what `project` would do to ledger and aliases, and do nothing."""
    from baton.registry.reconcile import foresee as foreseen

    return foreseen(
        spec.name,
        platform.ledger,
        platform.registry,
        usable=partial(_usable, platform),
        now=datetime.now(timezone.utc),
        policy=spec.gate.moved_alias,
    )


def release(platform: Platform, spec: ModelSpec) -> Release | None:
    """Point serving at the ledger's head, with the champion before it to stand in; None where there is none yet."""
    from baton.registry.promotion import champion_before
    from baton.serving.release_file import write_release

    head = platform.ledger.head(spec.name)
    if head is None:
        return None
    # Never the one that was rolled back: the champion is traced to its first epoch.
    before = champion_before(platform.ledger, spec.name)
    champion = Release(
        model=spec.name,
        epoch=head.epoch,
        version=head.version,
        champion=head.digest,
        previous=before.digest if before else "",
        previous_version=before.version if before else "",
    )
    write_release(platform.folder, champion)
    return champion


def _usable(platform: Platform, digest: str) -> Contents:
    from baton.packaging.reader import open_contents

    return open_contents(platform.bundles / digest)


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Give the tags by which MLflow shows a version's verdict."""
    from baton.registry.mlflow_run import tags_of_verdict

    return tags_of_verdict(verdict)


def rival(platform: Platform, spec: ModelSpec, head: LedgerEntry, *, holdout_start: datetime | None) -> Contents:
    """Open what the challenger is judged against, verified to the byte.

    That is the champion itself where it learnt from nothing within a holdout's
    length of the holdout. Else the two models would be nearly one, so it is the
    champion's twin, which was trained without the holdout of its own day, or
    without the drawn rows that no twin has ever seen.
    """
    from baton.packaging.reader import open_contents

    champion = open_contents(platform.bundles / head.digest)
    known = facts(champion)
    newest = datetime.fromisoformat(known["trained_until"])
    if holdout_start is not None and newest <= holdout_start - timedelta(days=spec.training.holdout_days):
        return champion
    return open_contents(platform.bundles / known["twin"])


def _window(spec: ModelSpec) -> dict[str, Any]:
    return {"window_days": spec.training.window_days or "all", "holdout_days": spec.training.holdout_days}
