"""Runs one replica until it is told to stop: takes its ports, and starts its processes; imports no TensorFlow."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import tempfile
import threading
from pathlib import Path

from checkpointing.history import newest_version
from infra.errors import Unavailable
from infra.logs import logger
from serving.listening import listen, reserve
from serving.parts import Parts
from serving.processes import Processes
from serving.signature import Signature, check_encoder

_log = logger()


def run_replica(parts: Parts, host: str, port: int, stop: threading.Event) -> None:
    """Answers requests from the newest version until ``stop`` is set; then leaves within 5 s.

    Args:
        parts: The replica.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, which the event `replica_listening` names.
        stop: Ends the replica; a signal handler may set it.

    Raises:
        Invalid: The port is in use, the features do not fit the fields, or the store refuses the credentials.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listen(host, port)))
        # A wrong spec and wrong credentials end the replica here; a silent store is the follower's to wait for.
        check_encoder(Signature.of(parts.pipeline), parts.encoder())
        with contextlib.suppress(Unavailable):
            newest_version(parts.store())
        grpc_port = None
        if parts.pipeline.serving.grpc_port is not None:
            reserved = stack.enter_context(contextlib.closing(reserve(host, parts.pipeline.serving.grpc_port)))
            grpc_port = reserved.getsockname()[1]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="springtide-replica-")))
        processes = Processes(parts, listener, grpc_port, folder)
        _log.info("replica_listening", name=parts.name, host=host, port=listener.getsockname()[1])
        if grpc_port is not None:
            _log.info("replica_listening_grpc", host=host, port=grpc_port)
        processes.run(stop)
