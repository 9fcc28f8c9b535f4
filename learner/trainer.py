"""Learns one batch of messages, the same way live and in a replay; must not know Kafka, commits or the wall clock."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from infra.kafka.batch import Batch
from kernels.features import FeatureEncoder, RunningStatistics
from kernels.sample_window import SampleIdWindow
from kernels.tables import EmbeddingTables, EncodedBatch, TableRows, TableSettings
from learner.decode import Rejected, SampleDecoder, Samples, is_late
from learner.preparation import Preparation, Ready, Timer
from learner.progress import ProgressiveMetrics
from learner.row_access import row_access
from learner.step import TrainingStep
from learner.table_state import table_state
from learner.witness import Witness

# How often a batch is halved to find what makes its gradient explode: enough for twenty samples among a thousand. A
# model that is broken itself fails with every sample, and must not keep the learner from its next heartbeat.
MOST_EXPLOSIONS: Final = 256


@dataclass(frozen=True)
class Learned:
    """What became of one batch.

    Args:
        fresh: The samples whose ids were new, probes included, in batch order.
        partitions: ``[fresh]`` int64, where each came from.
        sampled_ms: ``[fresh]`` int64, Kafka's timestamp of each.
        trained: How many of them had weight, label and a usable gradient, and were learned.
        duplicates: How many were dropped as learned before.
        rejected: What was set aside, by place in the batch.
        exploded: Whether most gradients were unusable: then the model is broken rather than the samples.
    """

    fresh: Samples
    partitions: npt.NDArray[np.int64]
    sampled_ms: npt.NDArray[np.int64]
    trained: int
    duplicates: int
    rejected: list[Rejected] = field(default_factory=list)
    exploded: bool = False


class Trainer:
    """Decode, drop repeats, encode, look up, step, apply: a function of the state and the messages alone.

    Times come from the messages, never from the wall clock: a sample's own times count up to the moment when Kafka
    took it in, so that a date in the future moves nothing.

    Args:
        decoder: Messages to columns.
        window: Which sample ids were learned.
        encoder: Columns to ids and numbers.
        statistics: Running statistics of the numbers with standard scaling.
        tables: The rows, trainable.
        step: The dense part.
        metrics: Gets each prediction made before learning.
        timer: Times the parts of a step.
        staleness: 0, or 1 for rows that are updated beside the next step (:mod:`learner.row_access`).

    Attributes:
        witness: Told each step, where somebody is to judge them; None where nobody is.
    """

    def __init__(
        self,
        decoder: SampleDecoder,
        window: SampleIdWindow,
        encoder: FeatureEncoder,
        statistics: RunningStatistics,
        tables: EmbeddingTables,
        step: TrainingStep,
        metrics: ProgressiveMetrics,
        timer: Timer = lambda part: nullcontext(),
        staleness: int = 0,
    ) -> None:
        self.window = window
        self.encoder = encoder
        self.statistics = statistics
        self.tables = tables
        self.step = step
        self.metrics = metrics
        self._timer = timer
        self._preparation = Preparation(decoder, encoder, timer)
        self._rows = row_access(tables, staleness)
        self.witness: Witness | None = None

    def train(self, batch: Batch) -> Learned:
        """Learns a batch of at most ``tables.max_batch`` messages; none of them is learned twice."""
        return self.learn(self.ready(batch))

    def ready(self, batch: Batch) -> Ready:
        """What can be done before the batches ahead of it are learned; may run on another thread."""
        return self._preparation.ready(batch)

    def learn(self, ready: Ready) -> Learned:
        """Learns a batch that was made ready by a trainer with the same features."""
        batch, samples = ready.batch, ready.samples
        new = self.window.admit(samples.sample_ids, samples.known_ms)
        duplicates = len(samples) - int(new.sum())
        fresh = samples if duplicates == 0 else samples.select(np.flatnonzero(new))
        lesson = ready.lesson if duplicates == 0 else self._preparation.lesson(fresh)
        usable = lesson.samples
        too_large = self._learn(usable, lesson.encoded) if len(usable) else []
        rejected = [*ready.rejected, *lesson.rejected]
        rejected += [Rejected(int(usable.index[place]), "its gradient is too large") for place in too_large]
        return Learned(
            fresh=fresh,
            partitions=batch.partitions[fresh.index].astype(np.int64),
            sampled_ms=batch.timestamps_ms[fresh.index],
            trained=len(usable) - len(too_large),
            duplicates=duplicates,
            rejected=rejected,
            exploded=2 * len(too_large) > len(usable),
        )

    def drain(self) -> None:
        """Ends what still runs beside the last step; before the tables are read, captured or changed by others."""
        self._rows.drain()

    def forget(self, keys: Mapping[str, Sequence[int]]) -> None:
        """Deletes the rows of ``keys``, by table, and what admission remembers of them; unknown tables are passed over.

        Whatever follows with such a key begins anew; call it before every capture, so that no version holds a row.
        """
        for table in self.tables.tables:
            if table.name in keys:
                # After a step that exploded, a lookup waits for its gradient in vain; an import forgets it.
                self.tables.import_rows(_no_rows(table, self.tables.slot_width(table.name)))
                self.tables.erase(table.name, np.array(keys[table.name], np.int64))

    def _learn(self, samples: Samples, encoded: EncodedBatch) -> list[int]:
        """Learns the batch in one step, or in halves of halves where the gradient explodes.

        A function of the samples' order alone, so that a replay halves alike.

        Returns:
            The places of the samples that were not learned, ascending.
        """
        with self._timer("encode"):
            # Scaled by what was known before this batch, as a replica scales; the batch itself counts afterwards.
            scaled = self.statistics.scale(encoded)
            self.statistics.update(encoded)
        too_large: list[int] = []
        explosions = 0
        # Depth first and left to right, so that the order of the samples stands.
        blocks = [(0, len(samples))]
        while blocks:
            begin, end = blocks.pop()
            whole = end - begin == len(samples)
            if self._learn_part(samples, scaled if whole else scaled.part(begin, end), slice(begin, end)):
                continue
            explosions += 1
            if end - begin == 1 or explosions > MOST_EXPLOSIONS:
                too_large += range(begin, end)
            else:
                middle = (begin + end) // 2
                blocks += [(middle, end), (begin, middle)]
        return too_large

    def _learn_part(self, samples: Samples, scaled: EncodedBatch, part: slice) -> bool:
        """One step with ``part`` of the samples; False where the gradient exploded, and nothing was learned."""
        labels, weights = samples.labels[part], samples.weights[part]
        with self._timer("lookup"):
            rows = self._rows.lookup(scaled)
        with self._timer("dense"):
            late = is_late(samples.kinds)[part]
            result = self.step(rows, labels, weights, samples.log_rates[part], late)
        with self._timer("apply"):
            if result.exploded:
                # A loss that is no number would spoil its bucket's sums, too.
                return False
            self._rows.apply(result.gradient, int(samples.known_ms[part].max()))
        columns = samples.columns.slice(part.start, len(labels))
        self.metrics.record(result.predictions, result.losses, labels, weights, samples.impression_ms[part], columns)
        if self.witness is not None:
            self.witness.note(samples, scaled, part, result)
        return True


def _no_rows(table: TableSettings, slots: int) -> TableRows:
    none = np.empty(0, np.int64)
    values, state = np.empty((0, table.dim), np.float32), np.empty((0, slots), np.float32)
    return TableRows(table.name, none, values, state, np.empty(0, np.uint32), none, none)


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Every array that decides what the trainer does next, by name; for comparing two of them bit for bit."""
    trainer.drain()
    state: dict[str, Any] = {f"dense/{name}": value for name, value in trainer.step.dense().items()}
    state |= {f"optimizer/{name}": value for name, value in trainer.step.own_state().items()}
    state |= {f"statistics/{name}": value for name, value in trainer.statistics.state().items()}
    state |= table_state(trainer.tables)
    state["window"] = trainer.window.export()
    for table in trainer.tables.tables:
        rows = trainer.tables.export(table.name)
        order = np.argsort(rows.keys, kind="stable")
        for part in ("keys", "values", "slots", "frequency", "last_seen"):
            state[f"rows/{table.name}/{part}"] = getattr(rows, part)[order]
        if rows.counts is not None:
            order = np.argsort(rows.counts.keys, kind="stable")
            for part in ("keys", "counters", "occurrences", "last_seen"):
                state[f"counts/{table.name}/{part}"] = getattr(rows.counts, part)[order]
    state["tables"] = trainer.tables.state()
    return state
