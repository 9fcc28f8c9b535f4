"""Runs one replica until it is told to stop; constructs this room's parts, and knows what each needs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import importlib.metadata
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn

from checkpointing.follower import Follower
from checkpointing.history import newest_version
from infra.clock import Clock
from infra.errors import Unavailable
from infra.feature_spec import feature_spec_hash
from infra.logs import logger
from infra.metrics import Metrics
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from infra.status_server import listen_error
from kernels.features import FeatureEncoder
from kernels.tables import EmbeddingTables
from serving.acceptance import Acceptance
from serving.answering import Answering
from serving.app import build_app
from serving.endpoints import Endpoints
from serving.follow import Following
from serving.predictor import Predictor
from serving.signature import Signature
from serving.snapshot import Switch
from serving.tensorflow_runtime import set_threads

# Once asked to stop, a replica says so for this long before it stops listening: balancers look every so often.
DRAIN_PAUSE_S: Final = 0.5
# What was begun by then may end.
DRAIN_WITHIN_S: Final = 3
FOLLOWER_WITHIN_S: Final = 1.0
# Longer than the idle timeout of common balancers, so that they close connections and not we.
KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 1024

_log = logger()


def run_replica(
    pipeline: Pipeline,
    name: str,
    encoder: FeatureEncoder,
    tables_factory: Callable[[], EmbeddingTables],
    store: ObjectStore,
    clock: Clock,
    host: str,
    port: int,
    stop: threading.Event,
) -> None:
    """Answers requests from the newest version until ``stop`` is set; then leaves within 5 s.

    Args:
        pipeline: The model's spec.
        name: Of this replica, as it stands in its status.
        encoder: Turns columns into ids and numbers, as it does for the learner.
        tables_factory: Makes empty tables that are not trainable.
        store: Where the model's versions are.
        clock: Passes and tells the time.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, which the event `replica_listening` names.
        stop: Ends the replica; a signal handler may set it.

    Raises:
        Invalid: The port is in use, the features do not fit the fields, or the store refuses the credentials.
    """
    signature = Signature.of(pipeline)
    metrics = Metrics("replica", clock=clock)
    listener = _listen(host, port)
    with contextlib.closing(listener):
        set_threads()
        switch = Switch(tables_factory, clock)
        predictor = Predictor(signature, encoder, switch, metrics)
        with contextlib.suppress(Unavailable):
            # Wrong credentials end the process here; a store that is silent is the follower's to wait for.
            newest_version(store)
        following = Following(
            follower=lambda: Follower(store, pipeline.name, clock),
            acceptance=Acceptance(signature, encoder.features, feature_spec_hash(pipeline)),
            switch=switch,
            metrics=metrics,
            clock=clock,
            poll_interval_s=pipeline.store.poll_interval.seconds,
        )

        def not_ready() -> str | None:
            if stop.is_set():
                return "the replica is stopping"
            if predictor.version is not None:
                return None
            trouble = following.trouble
            return "no version applied yet" + ("" if trouble is None else f": {trouble.error}")

        def status() -> dict[str, Any]:
            return _status(pipeline.name, name, predictor.version, following, ready=not_ready() is None)

        answering = Answering(max_body=pipeline.serving.max_body.bytes, metrics=metrics, clock=clock)
        endpoints = Endpoints(predictor, answering, not_ready, _release())
        app = build_app(endpoints, metrics=metrics, status=status, not_ready=not_ready)
        thread = threading.Thread(target=following.run, args=(stop,), name="follow", daemon=True)
        thread.start()
        _log.info("replica_listening", name=name, host=host, port=listener.getsockname()[1])
        try:
            _Server(app, clock, stop, metrics).run(sockets=[listener])
        finally:
            stop.set()
            answering.close()
            thread.join(FOLLOWER_WITHIN_S)


class _Server(uvicorn.Server):
    """Uvicorn, told to leave by the stop event instead of by signals of its own."""

    def __init__(self, app: Any, clock: Clock, stop: threading.Event, metrics: Metrics) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=DRAIN_WITHIN_S,
            )
        )
        self._clock = clock
        self._stop = stop
        self._metrics = metrics
        self._draining_since: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever made the stop event."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to stop listening; asked ten times a second."""
        if self._stop.is_set() and self._draining_since is None:
            self._draining_since = self._clock.monotonic()
            self._metrics.set("springtide_ready", 0)
            _log.info("replica_draining")
        if self._draining_since is not None and self._clock.monotonic() - self._draining_since >= DRAIN_PAUSE_S:
            return True
        return await super().on_tick(counter)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Not only bound: a second replica on the same port must fail here.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise listen_error(host, port, error) from None
    return listener


def _status(model: str, name: str, version: int | None, following: Following, *, ready: bool) -> dict[str, Any]:
    trouble = following.trouble
    return {
        "role": "replica",
        "model": model,
        "name": name,
        "version": version,
        "applied": [
            {"version": entry.version, "committed_ts": entry.committed_ts, "applied_ts": entry.applied_ts}
            for entry in following.applied
        ],
        "ready": ready,
        "trouble": None
        if trouble is None
        else {"kind": trouble.error.kind, "reason": str(trouble.error), "since_ts": trouble.since_ts},
    }


def _release() -> str:
    try:
        return importlib.metadata.version("springtide")
    except importlib.metadata.PackageNotFoundError:
        return "source"
