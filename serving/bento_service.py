r"""The BentoML service: one process that hosts the app.

`baton serve` runs it under `baton.serving.host`. It can be started by BentoML's
own command too, which is slower and keeps every request for as long as
`traffic.timeout` says:

    BATON_SERVING_FOLDER=.baton/flights BATON_SERVING_MODEL=flights \
        bentoml serve baton.serving.bento_service:PredictionService

Requests are checked and batched by our own app: BentoML's batcher fails the
good rows of a batch with the bad ones, and its request context is another
caller's inside a batch.
"""

from __future__ import annotations

import os

import bentoml

from baton.serving.app import create_app
from baton.serving.serving_settings import settings_from_environment

# BentoML's client asks for this when it is first used, and calls home where it is not set.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
# ONNX Runtime sends what it runs on, from its first session on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# BentoML sets it for many workers; with one, metrics in shared files are only slower and cannot be cleared.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

app = create_app(settings_from_environment)


@bentoml.service(
    name="baton",
    workers=1,
    http={"host": "127.0.0.1"},
    # The app has its own metrics and answers for itself; BentoML's cost a third of the throughput.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    # A request leaves a timer of this length behind, and with it some 5 kB. Ours end sooner.
    traffic={"timeout": 30},
)
@bentoml.asgi_app(app, path="/")
class PredictionService:
    """Hosts the app; ready when there is a champion."""

    async def __is_ready__(self) -> bool:
        """Whether there is a champion to answer with."""
        return any(engine.champion.current is not None for engine in app.state.engines.by_name.values())
