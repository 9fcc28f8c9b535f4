"""A running learner goes back to an earlier version; must not know who wants it or why."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from checkpointing.alive import KeptAlive
from checkpointing.chain import manifest_of
from checkpointing.content import LearnerState, Run
from checkpointing.manifest import Gate, Graph, Position
from checkpointing.writer import Writer
from infra.backoff import retry
from infra.clock import Clock
from infra.errors import Corrupt, Invalid
from infra.logs import logger
from infra.object_store import ObjectStore
from learner.export import digest, export_graph
from learner.gate import QualityGate
from learner.migration import Migration
from learner.outline import Outline
from learner.positions import by_partition
from learner.restore import migrated, restore_trainer
from learner.trainer import Trainer

_log = logger()

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Reverted:
    """What the version that begins anew says about that.

    Args:
        base: The version whose state was restored; 0 where it is another pipeline's, and everything is written anew.
        quarantined: The samples since then, which stay unlearned, as runs of offsets.
        graph: The dense program, where the base has another one.
        gate: The base's.
    """

    base: int
    quarantined: tuple[Run, ...]
    graph: Graph | None
    gate: Gate


@dataclass(frozen=True)
class Reversion:
    """Restores versions into a trainer that was running; nothing may be on its way to the writer meanwhile.

    Args:
        trainer: Whose state it is.
        gate: Learns what is restored, and whether that is what was wished for.
        writer: Kept alive during a restore.
        store: The model's store.
        model: Its name.
        spec_hash: Of the pipeline.
        migrate: Says what becomes of the state of another pipeline.
        labels: The label columns, in the order of the model's outputs.
        clock: Time.
        stop: Ends waits for the store, with ``Stopped``.
    """

    trainer: Trainer
    gate: QualityGate
    writer: Writer
    store: ObjectStore
    model: str
    spec_hash: str
    migrate: Callable[[Outline], Migration]
    labels: Sequence[str]
    clock: Clock
    stop: Event

    def to(self, version: int) -> LearnerState:
        """Brings the trainer to ``version`` or, where that cannot be had, to the newest version again.

        What was learned since the last capture is forgotten.

        Returns:
            The state restored; its version tells which of the two it is.

        Raises:
            Corrupt: Not even the newest version can be restored; the trainer is in no state to go on.
            Fenced: Another writer has taken over.
            Stopped: The process was asked to stop; the trainer is in no state to go on.
        """
        try:
            found = self._tries(lambda: manifest_of(self.store, self.model, version))
            if not found.changes:
                raise Invalid(
                    f"version {version} is a {found.kind}", wanted="a delta", cure="see `springtide versions`"
                )
            state = self._restore(version)
        except (Corrupt, Invalid) as error:
            _log.error("revert_failed", version=version, error=error)
            state = self._restore(self.writer.version)
            self.gate.stayed()
        else:
            self.gate.reverted()
        return state

    def reverted(self, state: LearnerState, current: Sequence[Position], promoted: frozenset[int]) -> Reverted:
        """What the next version says, whose learner stood at ``current`` when it went back to ``state``."""
        base = state.manifest
        runs = []
        for position in current:
            begin = by_partition(base.positions, position.topic).get(position.partition, 0)
            if position.next_offset > begin:
                runs.append((position.partition, begin, position.next_offset))
        gate = Gate(servable=True) if base.version in promoted else base.gate
        anew = migrated(state, self.spec_hash)
        graph = dense_graph(self.trainer, self.writer, state, self.labels, always=anew)
        return Reverted(0 if anew else base.version, tuple(runs), graph, gate)

    def _restore(self, version: int) -> LearnerState:
        trainer = self.trainer
        trainer.drain()
        trainer.metrics.take()
        trainer.tables.capture()
        with KeptAlive(self.writer, self.clock) as alive:

            def progress(done: int, total: int) -> None:
                alive.check()

            return self._tries(
                lambda: restore_trainer(
                    trainer, self.gate, self.store, self.model, version, self.spec_hash, progress, self.migrate
                )
            )

    def _tries(self, action: Callable[[], Answer]) -> Answer:
        return retry(action, "revert", clock=self.clock, stop=self.stop)


def dense_graph(
    trainer: Trainer, writer: Writer, state: LearnerState, labels: Sequence[str], *, always: bool = False
) -> Graph | None:
    """The dense program's reference for a version that follows ``state``; None where that has the same program.

    With ``always`` also then: the version begins from nothing.
    """
    graph = export_graph(trainer.step.model, trainer.tables.stride, trainer.step.loss.serve)
    if not always and state.graph is not None and state.graph.sha256 == digest(graph):
        return None
    return writer.put_graph(graph, weights=list(trainer.step.dense()), labels=labels)
