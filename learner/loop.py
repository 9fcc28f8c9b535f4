"""The learner's loop: poll, learn, and commit at step boundaries; must not know how any of them is done."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import os
import threading
from typing import Final

import numpy as np

from infra import spec
from infra.backoff import Backoff, Stopped, retry
from infra.clock import Clock
from infra.errors import Unavailable
from infra.kafka import Batch, PartitionReader
from infra.logs import logger
from learner.commit import Capture, Committer
from learner.decisions import Orders
from learner.evidence import gather
from learner.facts import FactsRecorder
from learner.gate import QualityGate
from learner.look_ahead import LookAhead
from learner.positions import Positions
from learner.preparation import Ready
from learner.reporting import Report, TableFigures
from learner.restore import WINDOW
from learner.revert import Reversion, Reverted
from learner.table_state import counts_to_arrays, table_state
from learner.trainer import Learned, Trainer

_log = logger()

# Short, so that a sample is learned as it comes and a commit is never late; an empty poll costs next to nothing.
POLL_TIMEOUT_S: Final = 0.01
# While Kafka does not answer: commits and heartbeats go on between the tries.
LONGEST_WAIT_S: Final = 0.5
# How long a leaving learner waits for its last commits.
LEAVE_S: Final = 20.0
# Without a store for so many runs of offsets, training waits: a manifest has a largest size. A batch has as
# many as its messages have changes of partition, and one more.
MOST_UNCOMMITTED_RUNS: Final = 200_000
# How often the gauges of the status page are refreshed.
REPORT_EVERY_S: Final = 0.5
# A flood of broken messages must not become a flood of log lines.
_LOGGED_REJECTIONS: Final = 5


class Learner:
    """Trains on what Kafka holds and commits it, until told to stop.

    Args:
        settings: Intervals and batch size.
        reader: The samples topic.
        positions: Where it stands; started.
        trainer: Learns batches; restored.
        facts: What the next manifest says about them.
        committer: Commits captures.
        gate: Judges captures; asked whether to go back.
        reversion: Goes back to an earlier version.
        orders: What people decided.
        report: Metrics and status.
        clock: Time.
        stop: Ends the loop.
    """

    def __init__(
        self,
        settings: spec.Learner,
        reader: PartitionReader,
        positions: Positions,
        trainer: Trainer,
        facts: FactsRecorder,
        committer: Committer,
        gate: QualityGate,
        reversion: Reversion,
        orders: Orders,
        report: Report,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._positions = positions
        self._trainer = trainer
        self._facts = facts
        self._committer = committer
        self._gate = gate
        self._reversion = reversion
        self._orders = orders
        self._report = report
        self._clock = clock
        self._stop = stop
        self._kafka = Backoff(f"read {reader.topic}", clock=clock, stop=stop, longest=LONGEST_WAIT_S)
        self._ahead = LookAhead(self._poll, trainer.ready, settings.max_batch, len(os.sched_getaffinity(0)))
        self._losses_finite = True
        # A partition found since the last version, or a first state: worth a version without any batch.
        self._changed = False
        self._captured = clock.monotonic()
        self._reported = clock.monotonic()

    def commit_first_state(self) -> None:
        """Commits the state as it is, so that replicas of a new model have something to answer with."""
        self._capture()

    def begin_anew(self) -> None:
        """Commits all that was taken over from another pipeline's version, so that nothing before it is needed."""
        self._capture(Reverted(0, (), None, self._gate.of_taken_over))

    def run(self) -> None:
        """Returns after ``stop`` is set and everything learned is committed.

        Raises:
            Fenced: Another learner has taken over; nothing more was written.
            Invalid, Corrupt: Going on would lose samples.
            Unavailable: The last commit did not get through; its samples will be learned again.
        """
        self._report.enter("running")
        # In the middle of going back there is nothing to leave behind: the next learner obeys.
        try:
            with contextlib.suppress(Stopped):
                while not self._stop.is_set():
                    self._turn()
                self._leave()
        finally:
            # Nothing may be reading when the reader is closed.
            self._ahead.close()

    def _turn(self) -> None:
        if self._orders.look() and self._orders.revert is None:
            self._orders.obey()
            self._changed |= bool(self._orders.forgotten())
        wish, hold = self._orders.revert, self._orders.hold
        back = wish.version if wish is not None else self._gate.given_up
        if back is not None and not self._committer.busy:
            self._go_back(back)
        elif back is not None or hold is not None:
            self._reader.hold(POLL_TIMEOUT_S)
        elif self._facts.runs < MOST_UNCOMMITTED_RUNS:
            ready = self._ahead.next()
            if ready is not None:
                self._learn(ready)
        else:
            self._reader.hold(POLL_TIMEOUT_S)
        # From here to the next batch the reader is this thread's alone.
        self._ahead.settle()
        self._collect()
        added = self._positions.look_for_new_partitions()
        if added:
            # The reader begins again behind what was learned.
            self._ahead.forget()
            self._changed = True
            _log.info("partitions_added", topic=self._reader.topic, partitions=added)
        self._commit_if_due()

    def _poll(self, *, wait: bool) -> Batch | None:
        timeout, linger = (POLL_TIMEOUT_S, self._linger()) if wait else (0.0, 0.0)
        try:
            batch = self._reader.poll_batch(self._settings.max_batch, timeout, linger)
        except Unavailable as error:
            self._report.unavailable("kafka")
            # A stop ends the wait, and then the loop.
            with contextlib.suppress(Stopped):
                self._kafka.failed(error)
            return None
        self._kafka.succeeded()
        return batch

    def _linger(self) -> float:
        """How long samples may wait for others, in seconds: never beyond the moment when a commit would take them."""
        longest = self._settings.batch_latency.seconds
        due = self._captured + self._settings.commit_interval.seconds - self._clock.monotonic()
        # What is overdue behind a commit in flight is taken when that ends, and nobody knows when.
        return longest if due <= 0 and self._committer.busy else min(longest, max(0.0, due))

    def _learn(self, ready: Ready) -> None:
        batch = ready.batch
        learned = self._trainer.learn(ready)
        # In this order and without a chance to fail in between: rows, positions and the list of batches move together.
        self._positions.passed(batch)
        self._facts.batch(batch.runs())
        self._facts.trained(learned.fresh, learned.partitions, learned.sampled_ms)
        self._losses_finite &= not learned.exploded
        self._report.learned(learned)
        self._tell(batch, learned)

    def _tell(self, batch: Batch, learned: Learned) -> None:
        for rejected in learned.rejected[:_LOGGED_REJECTIONS]:
            _log.warning(
                "sample_rejected",
                topic=batch.topic,
                partition=int(batch.partitions[rejected.index]),
                offset=int(batch.offsets[rejected.index]),
                reason=rejected.reason,
            )
        if len(learned.rejected) > _LOGGED_REJECTIONS:
            _log.warning("samples_rejected", topic=batch.topic, count=len(learned.rejected))
        if learned.exploded:
            _log.warning("gradient_exploded", topic=batch.topic, runs=batch.runs())

    def _collect(self) -> None:
        for manifest in self._committer.outcomes():
            self._report.committed(manifest, self._committer.seconds)
            self._positions.mirror(manifest.positions)
        now = self._clock.monotonic()
        if now - self._reported >= REPORT_EVERY_S:
            self._reported = now
            self._report.behind(self._reader.behind())
            trouble = self._committer.unavailable or self._kafka.cause
            self._report.hold(self._orders.hold)
            self._report.enter("running" if trouble is None else "waiting", None if trouble is None else str(trouble))

    def _commit_if_due(self) -> None:
        if self._committer.busy:
            return
        since = self._clock.monotonic() - self._captured
        if self._facts.batches or self._changed:
            if since >= self._settings.commit_interval.seconds:
                self._capture()
        elif since >= self._settings.heartbeat_interval.seconds:
            self._captured = self._clock.monotonic()
            self._committer.heartbeat()

    def _go_back(self, version: int) -> None:
        """Restores ``version`` and commits that the line goes on from there, at the present positions."""
        self._collect()
        self._report.enter("reverting", f"going back to version {version}")
        state = self._reversion.to(version)
        self._orders.obey()
        manifest = state.manifest
        self._facts = FactsRecorder(self._clock, manifest.learned_through, manifest.newest_known_ts)
        self._losses_finite = True
        if state.version != version:  # it could not be had: on from what is committed, as after a restart
            self._ahead.forget()
            self._changed = True  # the next version says that this was obeyed
            retry(lambda: self._positions.start(state.positions), "find the topic", clock=self._clock, stop=self._stop)
            return
        reverted = self._reversion.reverted(state, self._positions.current(), self._orders.decisions.promoted)
        _log.warning("reverted", version=version, quarantined=reverted.quarantined)
        self._report.reverted()
        self._capture(reverted)

    def _capture(self, reverted: Reverted | None = None) -> None:
        began = self._clock.monotonic()
        trainer = self._trainer
        trainer.drain()
        trainer.forget(self._orders.forgotten())
        metrics = trainer.metrics.take()
        dense = trainer.step.dense()
        evidence = gather(trainer, self._gate, dense, metrics)
        rows = trainer.tables.capture()
        window = trainer.window.capture()
        if reverted is not None and not reverted.base:
            window = trainer.window.export()
        capture = Capture(
            tables=rows,
            dense=dense,
            dense_optimizer=trainer.step.own_state() | table_state(trainer.tables),
            statistics=trainer.statistics.state(),
            sample_ids={WINDOW: np.ascontiguousarray(window), **counts_to_arrays(rows)},
            positions=self._positions.current(),
            facts=self._facts.take(),
            metrics=metrics,
            losses_finite=self._losses_finite,
            evidence=evidence,
            promoted=self._orders.decisions.promoted,
            obeyed=self._orders.obeyed,
            reverted=reverted,
        )
        self._losses_finite = True
        self._changed = False
        self._captured = self._clock.monotonic()
        self._committer.submit(capture)
        self._report.captured(
            self._captured - began,
            metrics,
            [
                TableFigures(
                    table.table,
                    trainer.tables.row_count(table.table),
                    trainer.tables.table_bytes(table.table),
                    len(table.tombstones),
                )
                for table in rows
            ],
            trainer.tables.memory_bytes() + trainer.window.memory_bytes(),
        )

    def _leave(self) -> None:
        self._report.enter("stopping", "stopping")
        deadline = self._clock.monotonic() + LEAVE_S
        done = self._committer.wait(LEAVE_S)
        self._collect()
        if done and (self._facts.batches or self._changed):
            self._capture()
            done = self._committer.wait(max(0.0, deadline - self._clock.monotonic()))
            self._collect()
        if not done:
            raise Unavailable(
                f"the last commit did not get through within {LEAVE_S:g} s: {self._committer.unavailable}",
                cure="nothing is lost: the next learner goes on from the newest version",
            )
