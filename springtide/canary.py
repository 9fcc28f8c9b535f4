"""Sends a probe every so often and exports what became of each; must not know how a probe travels."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import orjson
import typer

from infra.clock import Clock, SystemClock, iso
from infra.errors import Invalid, Unavailable
from infra.metrics import Metrics
from infra.object_store import open_store
from infra.pipeline_file import load_pipeline
from infra.status_server import StatusServer
from infra.units import Duration
from springtide.lifecycle import interrupting
from springtide.probe import Prober, ProbeResult
from springtide.probe_command import as_row, line, pipeline_path


class Tally:
    """What became of the probes so far, for people and for Prometheus.

    Args:
        model: Whose canary it is.
        clock: Says when now is.
    """

    def __init__(self, model: str, clock: Clock) -> None:
        self.metrics = Metrics("canary", clock=clock)
        self.lost = 0
        self._model = model
        self._clock = clock
        self._learned = 0
        # Until the first is learned, so that a canary that never sees one ages, too.
        self._note_learned()

    def learned(self, result: ProbeResult) -> None:
        """Takes a probe that every replica has learned."""
        self._learned += 1
        self.metrics.inc("springtide_probes_total", outcome="learned")
        self.metrics.observe("springtide_probe_seconds", result.seconds)
        self._note_learned()

    def missed(self) -> None:
        """Takes a probe that was not learned, or not everywhere, in time."""
        self.lost += 1
        self.metrics.inc("springtide_probes_total", outcome="lost")

    def status(self) -> dict[str, object]:
        """For `/status`."""
        return {"role": "canary", "model": self._model, "learned": self._learned, "lost": self.lost}

    def _note_learned(self) -> None:
        self.metrics.set("springtide_probe_learned_timestamp_seconds", self._clock.now_ms() / 1000)


def run_canary(
    path: Path | None,
    *,
    every: Duration,
    timeout: float,
    as_json: bool,
    stop: threading.Event,
    listen: str | None = None,
) -> int:
    """Sends a probe every so often until ``stop``, a line for each; one that is lost is told, and the next is sent.

    Args:
        path: The pipeline.yaml.
        every: From one probe to the next.
        timeout: Seconds until a probe counts as lost.
        as_json: Whether the lines are JSON.
        stop: Ends it.
        listen: Where to answer `/metrics`, as ``0.0.0.0:8900``; None: nowhere.

    Returns:
        1 if any was lost, else 0.

    Raises:
        Invalid: There is no pipeline, probes are switched off in it, or nobody can listen there.
    """
    pipeline = load_pipeline(pipeline_path(path))
    clock = SystemClock()
    tally = Tally(pipeline.name, clock)
    prober: Prober | None = None
    with ExitStack() as held:
        if listen is not None:
            host, port = host_and_port(listen)
            tally.metrics.set("springtide_ready", 1)
            held.enter_context(StatusServer(host, port, metrics=tally.metrics, status=tally.status, ready=lambda: None))
        held.enter_context(suppress(KeyboardInterrupt))
        held.enter_context(interrupting(stop))
        while not stop.is_set():
            begin = clock.monotonic()
            try:
                if prober is None:
                    prober = held.enter_context(Prober(pipeline, open_store(pipeline.store), clock))
                result = prober.probe(timeout=timeout)
                tally.learned(result)
                told = orjson.dumps(as_row(result)).decode() if as_json else line(result)
            except Unavailable as error:  # also of brokers that are not there yet: a canary outlives its loop
                tally.missed()
                told = orjson.dumps({"lost": str(error)}).decode() if as_json else f"LOST  {error}"
            typer.echo(f"{iso(clock.now_ms())}  {told}" if not as_json else told)
            clock.wait(stop, max(0.0, every.seconds - (clock.monotonic() - begin)))
    return 1 if tally.lost else 0


def host_and_port(listen: str) -> tuple[str, int]:
    """The two parts of ``0.0.0.0:8900``, ``[::]:8900`` or ``:8900``, which is every address.

    Raises:
        Invalid: It is none of these.
    """
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"--listen: got `{listen}`", wanted="an address and a port, as 0.0.0.0:8900")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)
