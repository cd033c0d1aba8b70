"""The retraining flow: claim the trigger, train a challenger, judge it, and promote it if the verdict says so.

Prefect is imported here at once, since decorators need it; whoever imports
this module is about to run a flow.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from httpx import HTTPError
from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException
from prefect.states import State

from baton.compose import Platform, platform
from baton.core.digest import digest_of
from baton.core.errors import BatonError, Conflict, DependencyDown, Fenced
from baton.flows import challenge, promoting, trained
from baton.flows.reconciling import RETRAINING, abandon_orphans
from baton.flows.run_record import Record, recall, remember, run_key
from baton.flows.triggers import Claim, Trigger, Triggers
from baton.registry.lease import Held, hold
from baton.registry.mlflow_words import one_line
from baton.registry.projection import this_process
from baton.registry.verdict_text import verdict_markdown

if TYPE_CHECKING:
    from baton.core.ledger_entry import LedgerEntry
    from baton.core.spec import ModelSpec
    from baton.core.verdict import Verdict

SCHEDULE = "schedule"
DRIFT = "drift"
# Times that a challenger is judged anew because somebody else was promoted meanwhile.
REJUDGED = 3

log = logging.getLogger(__name__)

# Steps pass frames and models in memory, so nothing is cached or persisted.
IN_MEMORY: Mapping[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


def worth_trying_again(task: object, run: object, state: State[Any]) -> bool:
    """Whether a step that failed may succeed a moment later: where a server was away, not where it was refused."""
    del task, run
    error = state.result(raise_on_failure=False)
    return not isinstance(error, BatonError) or isinstance(error, DependencyDown)


# Only what touches a server is tried again.
ON_A_SERVER: Mapping[str, Any] = {
    **IN_MEMORY,
    "retries": 2,
    "retry_delay_seconds": [1, 5],
    "retry_condition_fn": worth_trying_again,
    "timeout_seconds": 120,
}

freeze = task(challenge.freeze, name="freeze snapshot", **IN_MEMORY)
train = task(trained.train, name="fit, evaluate and seal", **IN_MEMORY)
judge = task(challenge.judge, name="judge", **IN_MEMORY)
register = task(challenge.register, name="register version", **ON_A_SERVER)
settle = task(promoting.carry_out, name="promote", **ON_A_SERVER)


def run_name() -> str:
    """Name a flow run by its day and by what asked for it, in a few words."""
    from prefect.runtime import flow_run

    said = flow_run.parameters
    return f"{str(said.get('as_of') or 'now')[:10]} {short(str(said.get('trigger') or flow_run.flow_name))}"


def short(trigger: str) -> str:
    """Give the first words of a trigger: what it is, without its figures."""
    return trigger.partition(":")[0]


@flow(name="retrain", flow_run_name=run_name, validate_parameters=False)
def retrain_flow(  # noqa: PLR0917 - deployments name their parameters
    project: str,
    trigger: str = SCHEDULE,
    key: str | None = None,
    as_of: str | None = None,
    home: str | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train, judge and perhaps promote one challenger.

    Args:
        project: Folder with model.yaml.
        trigger: What asked for it: schedule, drift, or a person's words.
        key: Identity of the trigger; the same key starts one retraining. The
            schedule's is its day.
        as_of: Moment to act as of, ISO 8601; now where left out.
        home: Folder for all state.
        overrides: Sections of model.yaml to change for this challenger.

    Returns:
        Version, decision, reason, and the epoch or the rollout that began; `claim` says why nothing ran where
        another run has the trigger.
    """
    baton = platform(Path(project), home=Path(home) if home else None)
    moment = (datetime.fromisoformat(as_of) if as_of else datetime.now(timezone.utc)).astimezone(timezone.utc)
    asked = Trigger(
        model=baton.spec.name,
        key=key or digest_of([trigger, moment.date(), overrides or {}]),
        reason=trigger,
        as_of=moment,
    )
    return _once(baton, asked, overrides=overrides or {})


def _once(baton: Platform, asked: Trigger, *, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Answer a trigger under its lease: a run that died is taken over, and one that was paused comes too late."""
    name = RETRAINING.format(model=asked.model) + digest_of(asked.key)[:16]
    with ExitStack() as while_held:
        try:
            held = while_held.enter_context(hold(baton.ledger.leases, name, this_process()))
        except Conflict:
            return {"claim": Claim.RUNNING.value, "trigger": asked.reason}
        return _answered(baton, asked, held, overrides=overrides)


def _answered(
    baton: Platform, asked: Trigger, held: Held, *, overrides: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    triggers = Triggers(baton.folder / "triggers.db")
    days = baton.spec.retraining.cooldown_days if asked.reason.startswith(DRIFT) else 0
    claim = triggers.claim(asked, now=datetime.now(timezone.utc), cooldown=timedelta(days=days))
    if claim is not Claim.TAKEN:
        return {"claim": claim.value, "trigger": asked.reason}
    try:
        record = retrain(baton, as_of=asked.as_of, trigger=asked.reason, overrides=overrides, held=held)
    except Fenced:
        # The trigger is its new holder's now.
        raise
    except BaseException:
        triggers.release(asked)
        raise
    triggers.finish(asked, outcome=record.verdict.decision, now=datetime.now(timezone.utc))
    rollout = promoting.under_way(baton)
    return {
        "claim": claim.value,
        "trigger": asked.reason,
        "key": record.key,
        "version": record.version,
        "verdict": record.verdict.id,
        "decision": record.verdict.decision.value,
        "reason": record.verdict.reason,
        "epoch": record.epoch,
        "rollout": rollout.id if rollout and rollout.challenger == record.digest else None,
    }


def retrain(
    baton: Platform, *, as_of: datetime, trigger: str, overrides: Mapping[str, Mapping[str, Any]], held: Held
) -> Record:
    """Take one challenger from rows to ledger; a run that was finished before is recalled."""
    spec = challenge.vary(baton.spec, overrides) if overrides else baton.spec
    snapshot = freeze(baton, as_of=as_of)
    key = run_key(spec, snapshot, as_of=as_of)
    finished = recall(baton, key)
    if finished is not None:
        return finished
    with suppress(DependencyDown):
        # Hours of training need no tracking server, which may be back by their end.
        abandon_orphans(baton, but=held.lease)
    challenger = train(baton, spec, snapshot, key=key, as_of=as_of)
    held.check()
    verdict, version, entry = _decided(
        baton, spec, challenger, held=held, snapshot=snapshot, key=key, trigger=trigger, as_of=as_of
    )
    record = Record(
        key=key,
        version=version,
        digest=challenger.bundle.digest,
        verdict=verdict,
        evaluation=challenger.evaluation,
        rows=challenger.rows,
        as_of=as_of,
        trigger=trigger,
        epoch=entry.epoch if entry else None,
    )
    remember(baton, record)
    try:
        _show(baton, record)
    except (HTTPError, PrefectException) as error:
        # The run is done and written down; only its page stays without pictures.
        log.warning("run_not_shown why=%s", one_line(str(error)))
    return record


def _decided(
    baton: Platform, spec: ModelSpec, challenger: trained.Trained, *, held: Held, trigger: str, **facts: Any
) -> tuple[Verdict, str, LedgerEntry | None]:
    """Judge, register and promote; where somebody else was promoted meanwhile, what counts is the new champion.

    It is the same holdout each time, so a challenger that lost does not win by
    being judged again, and one that keeps coming too late gives up.

    Raises:
        Conflict: Others were promoted first, `REJUDGED` times and once more.
    """
    for attempt in range(REJUDGED + 1):
        judgement = judge(baton, spec, challenger, as_of=facts["as_of"])
        verdict = judgement.verdict
        version = _champions_own(baton, verdict) or register(
            baton, spec, trained=challenger, judgement=judgement, trigger=trigger, **facts
        )
        if attempt:
            # The version is there since the first attempt, with the verdict of then.
            baton.registry.tag(spec.name, version, challenge.verdict_tags(verdict))
        if spec.gate.promotion == "by_hand":
            break
        reason = f"{trigger}: {verdict.reason}"
        try:
            entry = settle(baton, spec, verdict, version=version, reason=reason, now=facts["as_of"], lease=held.lease)
        except Fenced:
            raise
        except Conflict:
            if attempt == REJUDGED:
                raise
        else:
            return verdict, version, entry
    return verdict, version, None


def _champions_own(baton: Platform, verdict: Verdict) -> str | None:
    """Give the champion's version where this verdict made it champion: its run died then, or its code was touched."""
    head = baton.ledger.head(verdict.model)
    return head.version if head and (head.digest, head.verdict_id) == (verdict.challenger, verdict.id) else None


def _show(baton: Platform, record: Record) -> None:
    """Leave what a person wants to see on the flow run's page."""
    name = baton.spec.name
    create_markdown_artifact(
        verdict_markdown(record.verdict),
        key=f"{name}-verdict",
        description=f"Version {record.version}: {record.verdict.decision.value}",
    )
    slices = [
        {
            "column": part.column,
            "value": part.value,
            "rows": part.rows,
            record.verdict.metric: round(part.measure.value, 4),
            "standard error": round(part.measure.standard_error, 4),
        }
        for part in record.evaluation.slices
    ]
    if slices:
        create_table_artifact(slices, key=f"{name}-slices", description="Holdout by slice")
    if baton.settings.mlflow_url:
        link = f"{baton.settings.mlflow_url}/#/models/{name}/versions/{record.version}?workflowType=machine_learning"
        create_link_artifact(link, key=f"{name}-version", link_text=f"{name} version {record.version} in MLflow")
