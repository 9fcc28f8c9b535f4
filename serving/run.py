"""Runs one replica until it is told to stop; constructs this room's parts, and knows what each needs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import threading
from collections.abc import Callable
from typing import Any, Final

from checkpointing.follower import Follower
from checkpointing.history import newest_version
from infra.clock import Clock
from infra.errors import Unavailable
from infra.feature_spec import feature_spec_hash
from infra.logs import logger
from infra.metrics import Metrics
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from kernels.features import FeatureEncoder
from kernels.tables import EmbeddingTables
from serving.acceptance import Acceptance
from serving.answering import Answering
from serving.app import build_app
from serving.endpoints import Endpoints
from serving.follow import Following
from serving.grpc_server import GrpcServer
from serving.predictor import Predictor
from serving.server import Server, listen
from serving.signature import Signature
from serving.snapshot import Switch
from serving.tensorflow_runtime import set_threads

FOLLOWER_WITHIN_S: Final = 1.0

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
    listener = listen(host, port)
    with contextlib.closing(listener):
        with contextlib.suppress(Unavailable):
            # Wrong credentials end the process here; a store that is silent is the follower's to wait for.
            newest_version(store)
        set_threads()
        switch = Switch(tables_factory, pipeline.serving.kept_versions)
        predictor = Predictor(signature, encoder, switch, metrics)
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
        grpc_server = _grpc_server(pipeline, predictor, not_ready, metrics, clock, host)
        app = build_app(endpoints, metrics=metrics, status=status, not_ready=not_ready)
        thread = threading.Thread(target=following.run, args=(stop,), name="follow", daemon=True)
        thread.start()
        _log.info("replica_listening", name=name, host=host, port=listener.getsockname()[1])
        # What TensorFlow's import made stays for good; walking it in every full collection would pause requests.
        gc.collect()
        gc.freeze()
        try:
            Server(app, clock, stop, metrics).run(sockets=[listener])
        finally:
            stop.set()
            if grpc_server is not None:
                grpc_server.stop()
            gc.unfreeze()
            answering.close()
            thread.join(FOLLOWER_WITHIN_S)


def _grpc_server(
    pipeline: Pipeline,
    predictor: Predictor,
    not_ready: Callable[[], str | None],
    metrics: Metrics,
    clock: Clock,
    host: str,
) -> GrpcServer | None:
    """The gRPC side, answering; None where the pipeline wants none."""
    if pipeline.serving.grpc_port is None:
        return None
    server = GrpcServer(
        predictor,
        not_ready=not_ready,
        release=_release(),
        max_body=pipeline.serving.max_body.bytes,
        metrics=metrics,
        clock=clock,
    )
    port = server.listen(host, pipeline.serving.grpc_port)
    server.start()
    _log.info("replica_listening_grpc", host=host, port=port)
    return server


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
        "pinned": None
        if following.pin is None
        else {
            "version": following.pin.version,
            "by": following.pin.who,
            "since_ts": following.pin.decided_ts,
            "why": following.pin.why,
        },
        "trouble": None
        if trouble is None
        else {"kind": trouble.error.kind, "reason": str(trouble.error), "since_ts": trouble.since_ts},
    }


def _release() -> str:
    try:
        return importlib.metadata.version("springtide")
    except importlib.metadata.PackageNotFoundError:
        return "source"
