"""A process of a replica that answers requests from the versions that the follower hands over; knows no store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import importlib.metadata
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.clock import Clock
from infra.metrics import Metrics
from serving.answering import Answering
from serving.app import build_app
from serving.arrivals import Arrivals
from serving.beginning import begin, keep_posting, settle_memory
from serving.board import Board
from serving.connection import Direct
from serving.control_page import ControlPage
from serving.endpoints import Endpoints
from serving.grpc_server import GrpcServer
from serving.inference import Inference
from serving.parts import Parts
from serving.plain_heads import PlainHeads
from serving.predictor import Predictor
from serving.receiving import Receiving
from serving.server import Server
from serving.shadow import Shadow
from serving.signature import Signature
from serving.snapshot import Readers

VERSIONS_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.01


@dataclass(frozen=True)
class Place:
    """Where a predictor stands.

    Attributes:
        number: Among the replica's predictors, from 0.
        cores: That it runs on; empty for all.
        follower: Path of the socket that the follower listens on.
        folder: Of the board.
        grpc_port: Where all predictors answer gRPC; None for none.
    """

    number: int
    cores: frozenset[int]
    follower: str
    folder: Path
    grpc_port: int | None


def predict(parts: Parts, place: Place, listener: socket.socket, control: ControlPage) -> None:
    """Answers until told to leave, then ends what it has begun.

    Args:
        parts: The replica.
        place: This predictor's place in it.
        listener: Takes the connections of all predictors.
        control: The page with the number by which they switch.
    """
    pipeline, clock = parts.pipeline, parts.clock
    name = f"predictor-{place.number}"
    stop = begin(pipeline.name, name)
    if place.cores:
        os.sched_setaffinity(0, place.cores)
    metrics = Metrics("replica", clock=clock)
    board = Board(place.folder, "predictor")
    encoder = parts.encoder()
    tables = parts.tables(encoder)
    signature = Signature.of(pipeline)
    versions = Receiving(Arrivals(encoder.features, tables), control, place.follower, clock)
    predictor = Predictor(signature, encoder, versions, Readers(tables), metrics)

    def not_ready() -> str | None:
        if stop.is_set():
            return "the replica is stopping"
        if predictor.version is not None:
            return None
        trouble = board.status("follower").get("trouble")
        return "no version applied yet" + ("" if trouble is None else f": {trouble['reason']}")

    def status() -> dict[str, Any]:
        return _status(parts, predictor.version, board, ready=not_ready() is None)

    def page() -> bytes:
        metrics.set("springtide_ready", not_ready() is None)
        metrics.set("springtide_replica_version", predictor.version or 0)
        return board.metrics(metrics)

    max_body = pipeline.serving.max_body.bytes
    answering = Answering(max_body=max_body, metrics=metrics, clock=clock)
    shadow = Shadow(predictor, metrics)
    inference = Inference(predictor, shadow)
    app = build_app(
        Endpoints(predictor, answering, inference, not_ready, _release()),
        metrics=page,
        status=status,
        not_ready=not_ready,
    )
    direct = Direct(PlainHeads(inference, max_body), inference, answering)
    for thread, work in (
        ("receive", lambda: versions.run(stop)),
        ("post", lambda: keep_posting(lambda: board.post(metrics), name, metrics, clock, stop)),
    ):
        threading.Thread(target=work, name=thread, daemon=True).start()
    settle_memory()
    _await_versions(versions, control, clock, stop)
    grpc_server = None
    if place.grpc_port is not None:
        grpc_server = GrpcServer(
            predictor,
            shadow,
            not_ready=not_ready,
            release=_release(),
            max_body=max_body,
            metrics=metrics,
            clock=clock,
            port_shared=True,
        )
        grpc_server.listen(pipeline.serving.host, place.grpc_port)
        grpc_server.start()
    leaving = (lambda: None) if grpc_server is None else grpc_server.leave
    try:
        Server(app, clock, stop, leaving, direct).run(sockets=[listener])
    finally:
        stop.set()
        if grpc_server is not None:
            grpc_server.stop()
        answering.close()
        shadow.close()
        gc.unfreeze()


def _await_versions(versions: Receiving, control: ControlPage, clock: Clock, stop: threading.Event) -> None:
    """Where others may answer already, who comes later takes no request before it can, too; but not for ever."""
    deadline = clock.monotonic() + VERSIONS_WITHIN_S
    while control.number > 0 and not versions.kept and not stop.is_set() and clock.monotonic() < deadline:
        clock.wait(stop, LOOK_EVERY_S)


def _status(parts: Parts, version: int | None, board: Board, *, ready: bool) -> dict[str, Any]:
    told = board.status("follower")
    trouble = told.get("trouble")
    down = board.status("supervisor").get("follower_ended_ts")
    if trouble is None and down is not None:
        reason = "the process that follows the versions has ended; it is started again"
        trouble = {"kind": "unavailable", "reason": reason, "since_ts": down}
    return {
        "role": "replica",
        "model": parts.pipeline.name,
        "name": parts.name,
        "version": version,
        "applied": told.get("applied", []),
        "ready": ready,
        "pinned": told.get("pinned"),
        "trouble": trouble,
    }


def _release() -> str:
    try:
        return importlib.metadata.version("springtide")
    except importlib.metadata.PackageNotFoundError:
        return "source"
