"""Commits on a thread of its own, one at a time, while training goes on; must not know how rows are trained."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy.typing as npt

from checkpointing.content import Content
from checkpointing.manifest import Graph, Manifest, Position
from checkpointing.precision import Precision
from checkpointing.writer import Writer
from infra.clock import Clock
from infra.errors import Unavailable
from infra.logs import logger
from kernels.rows import TableRows
from learner.facts import Facts
from learner.gate import QualityGate
from learner.revert import Reverted
from learner.witness import Evidence

_log = logger()

# Between two tries of a store that does not answer; the writer itself has tried for seconds by then.
RETRY_PAUSE_S: Final = 0.5

NamedArrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A step boundary, frozen: everything that one version moves.

    Args:
        tables: Rows touched and keys evicted since the last capture.
        dense: All dense weights.
        dense_optimizer: The state of their rule.
        statistics: Running feature statistics.
        sample_ids: The window's increment.
        positions: Of all partitions.
        facts: What the manifest says about the samples.
        metrics: Progressive metrics, increments.
        losses_finite: Whether every loss since the last capture was a number.
        evidence: What the gate gets to see of the samples since the last capture.
        promoted: Versions that a person let pass.
        obeyed: The newest decision that this state follows.
        reverted: What it begins anew from; None where it follows the last version.
    """

    tables: Sequence[TableRows]
    dense: NamedArrays
    dense_optimizer: NamedArrays
    statistics: NamedArrays
    sample_ids: NamedArrays
    positions: list[Position]
    facts: Facts
    metrics: dict[str, Any]
    losses_finite: bool
    evidence: Evidence | None = None
    promoted: frozenset[int] = frozenset()
    obeyed: int = 0
    reverted: Reverted | None = None


@dataclass
class _Work:
    capture: Capture | None = None
    heartbeat: bool = False


@dataclass(frozen=True)
class Constants:
    """What every version of one run says alike.

    Args:
        feature_spec_hash: Hash of the features that make this state.
        environment: What a bit-identical replay needs.
        graph: The dense program, for the run's first version; None where the store has it as the newest already.
        precision: How replicas get a table's values; float32 where a table is not named.
        outline: What a later learner with another pipeline must know of this one.
    """

    feature_spec_hash: str
    environment: dict[str, Any]
    graph: Graph | None
    precision: Mapping[str, Precision] = field(default_factory=dict)
    outline: NamedArrays = field(default_factory=dict)


@dataclass
class _Outcomes:
    committed: list[Manifest] = field(default_factory=list)
    error: BaseException | None = None


class Committer:
    """One commit in flight.

    A store that does not answer is tried until it does: the writer keeps the very bytes of a commit whose outcome it
    does not know, so that nothing is put back and nothing is counted twice. Training goes on meanwhile, and what it
    touches waits in the tables for the next capture.

    Args:
        writer: This process's claim on the line of versions.
        gate: Decides which versions replicas may switch to.
        constants: What every version says alike.
        clock: For pauses.

    Attributes:
        seconds: How long the newest commit took.
    """

    def __init__(self, writer: Writer, gate: QualityGate, constants: Constants, clock: Clock) -> None:
        self._writer = writer
        self._gate = gate
        self._constants = constants
        self._graph = constants.graph
        self.seconds = 0.0
        self._clock = clock
        self._work: _Work | None = None
        self._outcomes = _Outcomes()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._unavailable: Unavailable | None = None
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a commit is in flight."""
        with self._changed:
            return self._work is not None

    @property
    def unavailable(self) -> Unavailable | None:
        """Why the commit in flight does not get through, if it does not."""
        return self._unavailable

    def submit(self, capture: Capture) -> None:
        """Hands over a capture; not while :attr:`busy`."""
        self._hand_over(_Work(capture=capture))

    def heartbeat(self) -> None:
        """Asks for a version that changes nothing; not while :attr:`busy`."""
        self._hand_over(_Work(heartbeat=True))

    def outcomes(self) -> list[Manifest]:
        """The versions committed since the last call, oldest first.

        Raises:
            Fenced: Another writer has taken over.
            Invalid, Bug: The content could not be committed; nothing of it was written.
        """
        with self._changed:
            if self._outcomes.error is not None:
                raise self._outcomes.error
            committed, self._outcomes.committed = self._outcomes.committed, []
            return committed

    def wait(self, seconds: float) -> bool:
        """Waits until no commit is in flight; False if that takes longer than ``seconds``."""
        with self._changed:
            return self._changed.wait_for(lambda: self._work is None, timeout=seconds)

    def close(self) -> None:
        """Ends the thread; a commit in flight that the store does not answer is left unfinished."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def _hand_over(self, work: _Work) -> None:
        with self._changed:
            if self._work is not None:
                raise ValueError("a commit is in flight; wait for it")
            self._work = work
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work is not None or self._closing.is_set())
                work = self._work
            if work is None:
                return
            began = self._clock.monotonic()
            try:
                manifest = self._commit(work)
            except BaseException as error:  # noqa: BLE001 - it is raised where outcomes are asked for
                with self._changed:
                    self._outcomes.error = error
                    self._work = None
                    self._changed.notify_all()
                return
            with self._changed:
                if manifest is not None:
                    self._outcomes.committed.append(manifest)
                self.seconds = self._clock.monotonic() - began
                self._work = None
                self._changed.notify_all()

    def _commit(self, work: _Work) -> Manifest | None:
        content = None if work.capture is None else self._content(work.capture)
        while True:
            try:
                manifest = self._writer.heartbeat() if content is None else self._writer.commit(content)
            except Unavailable as error:
                if self._unavailable is None:
                    _log.warning("commit_delayed", version=self._writer.version + 1, error=error)
                self._unavailable = error
                if self._clock.wait(self._closing, RETRY_PAUSE_S):
                    return None
            else:
                if self._unavailable is not None:
                    _log.info("commit_resumed", version=manifest.version)
                self._unavailable = None
                if content is not None:
                    self._gate.committed(manifest)
                return manifest

    def _content(self, capture: Capture) -> Content:
        reverted = capture.reverted
        if reverted is None:
            gate = self._gate.judge(
                capture.tables, capture.dense, capture.losses_finite, capture.evidence, capture.promoted
            )
        else:
            gate = reverted.gate
        if not gate.servable:
            _log.warning("version_refused", version=self._writer.version + 1, reasons=list(gate.reasons))
        graph, self._graph = self._graph or (None if reverted is None else reverted.graph), None
        facts = capture.facts
        return Content(
            tables=capture.tables,
            dense=capture.dense,
            dense_optimizer=capture.dense_optimizer | self._gate.state() | self._constants.outline,
            statistics=capture.statistics,
            sample_ids=capture.sample_ids,
            positions=capture.positions,
            batches=facts.batches,
            learned_through=facts.learned_through,
            newest_known_ts=facts.newest_known_ts,
            label_histogram=facts.label_histogram,
            probes=facts.probes,
            timeline=facts.timeline,
            metrics=capture.metrics,
            gate=gate,
            environment=self._constants.environment,
            graph=graph,
            precision=self._constants.precision,
            feature_spec_hash=self._constants.feature_spec_hash,
            kind="delta" if reverted is None else "revert",
            base_ref=None if reverted is None else reverted.base,
            obeyed=capture.obeyed,
            quarantined=() if reverted is None else reverted.quarantined,
        )
