"""Prefect, spoken to: drift goes in as an event, an automation turns it into a retraining, and runs are looked at.

The server delivers an event at least once, and N equal events start N runs:
what makes one retraining of them is the trigger table, not this module. An
event alone promotes nothing, since nobody is asked who sent it.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from baton.core.errors import DependencyDown
from baton.flows.process_file import no_orphans

EVENT = "baton.drift"
RESOURCE = "baton.model"
# The server writes events down every few seconds.
WRITTEN_SECONDS = 30.0
LOOK_SECONDS = 0.25
ORPHANED = "The process that ran it is gone; the runner has been started again."
# An in-process server counts these seconds from its start, on a machine that may be busy.
STARTUP_SECONDS = 120
# A server that is well answers at once; a busy one in this time.
HEALTHY_SECONDS = 5.0
ALIVE = ("PENDING", "RUNNING", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# What the automation hands the retraining flow; the project is the deployment's own.
PARAMETERS = {
    "trigger": "{{ event.payload.reason }}",
    "key": "{{ event.payload.key }}",
    "as_of": "{{ event.payload.as_of }}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunSeen:
    """A flow run as the server tells it; `seconds` is how long it has run."""

    id: str
    name: str
    state: str
    parameters: Mapping[str, Any]
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether it will not change any more."""
        return self.state in ENDED


@contextmanager
def in_process() -> Iterator[None]:
    """Run flows in this process at little cost, where no server is configured, or the one that is does not answer.

    A server that is down keeps nobody from retraining: it only never hears of
    the run.

    Each synchronous flow joins a heartbeat thread that sleeps in whole
    seconds: 1.07 s a flow run instead of 0.08 s. Heartbeats only matter to a
    server that outlives the run. No environment variable can say None.

    Raises:
        DependencyDown: The in-process server does not start, or a server went away while a flow ran.
    """
    from prefect.settings import get_current_settings, temporary_settings

    url = get_current_settings().api.url
    if url and _healthy(url):
        with _told_or_not(url):
            yield
        return
    if url:
        # Prefect's own handlers would swallow a log line.
        sys.stderr.write(f"warning: Prefect at {url} does not answer; this run goes on without it, unlisted there.\n")
    settings: dict[Any, Any] = {
        "api.url": None,
        "flows.heartbeat_frequency": None,
        "server.ephemeral.startup_timeout_seconds": STARTUP_SECONDS,
    }
    home = get_current_settings().home
    try:
        with temporary_settings(settings), no_orphans(f"{home}"):
            yield
    except RuntimeError as error:
        # Prefect has no exception of its own for this.
        if "Prefect API" not in str(error):
            raise
        raise _down(str(error)) from error


@contextmanager
def _told_or_not(url: str) -> Iterator[None]:
    """Say that a server has gone away during a run, instead of telling it so for minutes."""
    import httpx
    from prefect.exceptions import PrefectException

    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        raise DependencyDown(
            what=f"Prefect at {url} went away during this run",
            why=str(error) or type(error).__name__,
            fix="what the run had done by then stands; run the same command again, which goes on from there",
        ) from error
    finally:
        if not _healthy(url):
            _forget_untold()


def _forget_untold() -> None:
    """Drop what is queued for a server that is not there: at exit each event would be tried for ten seconds."""
    from prefect.events.worker import EventsWorker

    for service in tuple(EventsWorker._instances.values()):
        with suppress(queue.Empty):
            while True:
                service._queue.get_nowait()


def _healthy(url: str) -> bool:
    """Whether a server answers that it is well."""
    import httpx

    try:
        # No proxy, as everywhere on loopback; a server elsewhere is asked by its own address too.
        return httpx.get(f"{url.rstrip('/')}/health", timeout=HEALTHY_SECONDS, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def warm_up() -> None:
    """Start the in-process server, which takes seconds; call it from a thread, and join it before the first flow."""
    with _client() as client:
        client.hello()


def emit_drift(model: str, *, key: str, as_of: str, reason: str) -> None:
    """Tell the server that a model has drifted, and wait until the event is written down.

    Args:
        model: Name of the model.
        key: Identity of the trigger: what is told twice has the same key.
        as_of: Moment to retrain as of, ISO 8601.
        reason: What a person should read beside the retraining.

    Raises:
        DependencyDown: The server does not answer, or does not keep the event.
    """
    from prefect.events import Event

    # A new id each time: the server drops an event whose id it has seen, and
    # a drift whose retraining failed has to be told again.
    event = Event(
        event=EVENT,
        resource={"prefect.resource.id": _resource(model), "prefect.resource.name": model},
        payload={"model": model, "key": key, "as_of": as_of, "reason": reason},
    )
    with _client() as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
        deadline = time.monotonic() + WRITTEN_SECONDS
        while not _written(client, str(event.id)):
            if time.monotonic() > deadline:
                raise _down(f"the event of {model} was not written within {WRITTEN_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)


def ensure_automation(deployment_id: str, model: str) -> str:
    """Make a model's drift start its retraining deployment, once however often this is called; gives the id.

    An automation that a person has paused stays paused.
    """
    from prefect.events.schemas.automations import AutomationCore

    wanted = AutomationCore.model_validate(_automation(deployment_id, model))
    with _client() as client:
        first, *others = client.read_automations_by_name(wanted.name) or [None]
        for other in others:
            client.delete_automation(other.id)
        if first is None:
            return str(client.create_automation(wanted))
        # An update forgets the events that are being judged: none where nothing changes.
        if _comparable(first) != _comparable(wanted):
            client.update_automation(first.id, wanted)
        return str(first.id)


def flow_runs(deployment_id: str) -> tuple[FlowRunSeen, ...]:
    """Give a deployment's runs that have begun or ended, newest first; scheduled ones are left out."""
    with _client() as client:
        return tuple(_seen(run) for run in _runs(client, deployment_id, states=ALIVE + ENDED))


def wait_for_run(deployment_id: str, *, key: str, timeout_seconds: float) -> FlowRunSeen:
    """Wait for the run that a trigger's key has started to finish, whatever its end.

    Raises:
        DependencyDown: It has not finished in time, or the server does not answer.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        for run in flow_runs(deployment_id):
            if run.parameters.get("key") == key and run.finished:
                return run
        time.sleep(LOOK_SECONDS)
    raise _down(f"no run with the key {key} has finished within {timeout_seconds:.0f} s")


def deployment_id_of(name: str) -> str:
    """Give the id of a deployment by `flow/deployment`."""
    with _client() as client:
        return str(client.read_deployment_by_name(name).id)


def orphans_crashed(deployment_id: str) -> int:
    """Mark runs that no process runs any more as crashed, and say how many; a kill -9 leaves them running for ever.

    For the one runner of the deployment to call before it starts.
    """
    from prefect.states import Crashed

    with _client() as client:
        orphans = _runs(client, deployment_id, states=ALIVE)
        for run in orphans:
            client.set_flow_run_state(run.id, Crashed(message=ORPHANED), force=True)
        return len(orphans)


def _automation(deployment_id: str, model: str) -> dict[str, Any]:
    return {
        "name": f"baton: {model} drift retrains",
        "description": f"Runs the retraining of {model} when its watch says that drift has lasted.",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": [EVENT],
            "match": {"prefect.resource.id": _resource(model)},
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment_id,
                "parameters": PARAMETERS,
            }
        ],
    }


def _comparable(automation: Any) -> dict[str, Any]:
    fields: dict[str, Any] = automation.model_dump(mode="json", include={"name", "trigger", "actions"})
    # The server gives a trigger an id of its own.
    fields["trigger"].pop("id", None)
    return fields


def _resource(model: str) -> str:
    return f"{RESOURCE}.{model}"


def _written(client: Any, event_id: str) -> bool:
    answer = client.request("POST", "/events/filter", json={"filter": {"id": {"id": [event_id]}}, "limit": 1})
    return bool(answer.json()["events"])


def _runs(client: Any, deployment_id: str, *, states: Sequence[str]) -> list[Any]:
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    return list(
        client.read_flow_runs(
            deployment_filter=filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=[deployment_id])),
            flow_run_filter=filters.FlowRunFilter(
                state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states)))
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )
    )


def _seen(run: Any) -> FlowRunSeen:
    return FlowRunSeen(
        id=str(run.id),
        name=run.name,
        state=run.state_type.value,
        parameters=run.parameters,
        seconds=run.total_run_time.total_seconds(),
    )


@contextmanager
def _client() -> Iterator[Any]:
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        raise _down(str(error) or type(error).__name__) from error


def _down(why: str) -> DependencyDown:
    return DependencyDown(what="Prefect's server does not do its part", why=why, fix="see `baton up` and its log")
