"""Keeps a store small and quick to start from: compaction and collection, once or for ever; decides no policy."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import typer

from checkpointing.chain import plan
from checkpointing.collect import Collected, Collector
from checkpointing.compact import FEW_DELTAS, Compacted, compact, is_due
from checkpointing.control import ControlLog
from checkpointing.history import newest_version
from checkpointing.retention import Retention
from checkpointing.servable import newest_servable
from infra.backoff import Backoff, Stopped
from infra.clock import Clock, SystemClock
from infra.errors import Corrupt, Invalid, Unavailable
from infra.logs import configure, logger
from infra.object_store import ObjectStore, open_store
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline

_log = logger()

LOOK_EVERY_S: Final = 10.0
COLLECT_EVERY_S: Final = 600.0
# A compaction must never take the processor from a learner or a replica.
NICENESS: Final = 10


@dataclass
class Compactor:
    """Makes a base of the newest servable version whenever one is due, or of the newest where nothing is servable.

    Args:
        store: The model's store.
        pipeline: Its spec.
        clock: Passes the time.
        stop: Ends waits early.
    """

    store: ObjectStore
    pipeline: Pipeline
    clock: Clock
    stop: threading.Event
    # Below this version no base can be due yet.
    not_before: int = 0

    def look(self, *, always: bool = False) -> Compacted | None:
        """Compacts if it is due, or ``always``; raises as :func:`checkpointing.compact.compact`."""
        model = self.pipeline.name
        newest = newest_version(self.store, after=0 if always else self.not_before)
        if newest is None or (newest < self.not_before and not always):
            return None
        control = ControlLog(self.store, model)
        control.poll()
        servable = newest_servable(self.store, model, newest, control.decisions.promoted)
        if servable is not None and (always or is_due(plan(self.store, model, servable))):
            made = self._compact(servable)
            if made is not None:
                self.not_before = newest + FEW_DELTAS
                return made
        chain = plan(self.store, model, newest)
        if not is_due(chain):
            self.not_before = newest + max(1, FEW_DELTAS - len(chain.deltas) % FEW_DELTAS)
            return None
        self.not_before = newest + FEW_DELTAS
        if servable is not None:
            self._compact(servable)  # what replicas answer from must outlive the deltas around it
        return self._compact(newest)

    def _compact(self, version: int) -> Compacted | None:
        return compact(
            self.store,
            self.pipeline.name,
            version,
            self.clock,
            window_ms=self.pipeline.learner.sample_id_window.ms,
            stop=self.stop,
        )


def run_compactor(path: Path, *, once: bool, collection: Retention | None, stop: threading.Event) -> None:
    """Compacts until ``stop`` is set, or once; with ``collection`` also collects every ten minutes."""
    pipeline = load_pipeline(path)
    clock, store = SystemClock(), open_store(pipeline.store)
    compactor = Compactor(store, pipeline, clock, stop)
    if once:
        made = compactor.look(always=True)
        typer.echo("nothing to compact" if made is None else _compacted(made))
        if collection is not None:
            typer.echo(_collected(Collector(store, pipeline.name, clock, collection, stop=stop).run(), dry_run=False))
        return
    configure("compaction", pipeline.name)
    os.nice(NICENESS)
    collector = None if collection is None else Collector(store, pipeline.name, clock, collection, stop=stop)
    backoff = Backoff("compact", clock=clock, stop=stop)
    collected = clock.monotonic()
    while not stop.is_set():
        try:
            made = compactor.look()
            if made is not None:
                _log.info("base_made", version=made.base.version, deltas=made.deltas, bytes=made.base.size)
            if collector is not None and clock.monotonic() - collected >= COLLECT_EVERY_S:
                done = collector.run()
                collected = clock.monotonic()
                _log.info("collected", boundary=done.boundary.version, objects=len(done.deleted), bytes=done.size)
            backoff.succeeded()
            clock.wait(stop, LOOK_EVERY_S)
        except Unavailable as error:
            try:
                backoff.failed(error)
            except Stopped:
                return
        except (Corrupt, Invalid) as error:
            # The line goes on without a base; a person must look at the file that is wrong.
            _log.error("compaction_failed", error=error)
            clock.wait(stop, COLLECT_EVERY_S)
        except Stopped:
            return


def run_collection(
    path: Path, *, retention: Retention, dry_run: bool, stop: threading.Event, as_json: bool = False
) -> None:
    """Collects once and prints what was deleted."""
    pipeline = load_pipeline(path)
    collector = Collector(open_store(pipeline.store), pipeline.name, SystemClock(), retention, stop=stop)
    done = collector.run(dry_run=dry_run)
    if as_json:
        about = {
            "dry_run": dry_run,
            "boundary_before": done.before.version,
            "boundary": done.boundary.version,
            "objects": [{"key": entry.key, "bytes": entry.size} for entry in done.deleted],
            "bytes": done.size,
            "young": done.young,
        }
        typer.echo(orjson.dumps(about).decode())
        return
    if dry_run:
        for entry in done.deleted:
            typer.echo(f"{entry.size:>12,}  {entry.key}")
    typer.echo(_collected(done, dry_run=dry_run))


def _compacted(made: Compacted) -> str:
    return (
        f"base of version {made.base.version}: {made.deltas} deltas, {made.read_bytes:,} bytes read,"
        f" {made.base.size:,} bytes in {len(made.base.parts)} parts"
    )


def _collected(done: Collected, *, dry_run: bool) -> str:
    verb = "would delete" if dry_run else "deleted"
    return (
        f"boundary {done.before.version} -> {done.boundary.version}; {verb} {len(done.deleted)} objects,"
        f" {done.size:,} bytes; {done.young} dead objects are younger than the grace time"
    )
