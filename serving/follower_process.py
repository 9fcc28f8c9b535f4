"""The process of a replica that follows the line of versions and hands each one to the predictors; answers nobody."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any, Final

from checkpointing.follower import Follower
from infra.feature_spec import feature_spec_hash
from infra.metrics import Metrics
from serving.acceptance import Acceptance
from serving.beginning import begin, keep_posting, settle_memory
from serving.board import Board
from serving.control_page import ControlPage
from serving.follow import Following
from serving.parts import Parts
from serving.publishing import Publishing
from serving.signature import Signature
from serving.snapshot import Switch

# Requests come first.
NICENESS: Final = 10
PREDICTORS_WITHIN_S: Final = 10.0
LOOK_EVERY_S: Final = 0.01


def follow(parts: Parts, listener: socket.socket, control: ControlPage, folder: Path) -> None:
    """Follows until told to leave.

    Args:
        parts: The replica.
        listener: Where predictors connect.
        control: The page with the number by which they switch.
        folder: Of the board.
    """
    pipeline, clock = parts.pipeline, parts.clock
    stop = begin(pipeline.name, "follower")
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    metrics = Metrics("replica", clock=clock)
    board = Board(folder, "follower")
    encoder = parts.encoder()
    publishing = Publishing(listener, control, pipeline.serving.kept_versions, clock)
    switch = Switch(parts.tables(encoder), pipeline.serving.kept_versions, publishing.announce)

    def post() -> None:
        metrics.set("springtide_replica_predictors", publishing.predictors)
        board.post(metrics, status_of(following))

    following = Following(
        follower=lambda: Follower(parts.store(), pipeline.name, clock, lambda version: version in switch.kept),
        acceptance=Acceptance(Signature.of(pipeline), encoder.features, feature_spec_hash(pipeline)),
        switch=switch,
        metrics=metrics,
        clock=clock,
        poll_interval_s=pipeline.store.poll_interval.seconds,
        commit_interval_s=pipeline.learner.commit_interval.seconds,
        changed=post,
    )

    settle_memory()
    for name, work in (
        ("greet", lambda: publishing.greet(stop)),
        ("post", lambda: keep_posting(post, "follower", metrics, clock, stop)),
    ):
        threading.Thread(target=work, name=name, daemon=True).start()
    # The first version shall be everybody's first.
    deadline = clock.monotonic() + PREDICTORS_WITHIN_S
    while publishing.predictors < pipeline.serving.predictors and clock.monotonic() < deadline and not stop.is_set():
        clock.wait(stop, LOOK_EVERY_S)
    following.run(stop)
    publishing.close()


def status_of(following: Following) -> dict[str, Any]:
    """What a replica's status says of the versions that it applied and of what keeps newer ones away."""
    trouble, pin = following.trouble, following.pin
    return {
        "applied": [
            {"version": entry.version, "committed_ts": entry.committed_ts, "applied_ts": entry.applied_ts}
            for entry in following.applied
        ],
        "pinned": None
        if pin is None
        else {"version": pin.version, "by": pin.who, "since_ts": pin.decided_ts, "why": pin.why},
        "trouble": None
        if trouble is None
        else {"kind": trouble.error.kind, "reason": str(trouble.error), "since_ts": trouble.since_ts},
    }
