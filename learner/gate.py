"""Decides before a commit whether replicas may switch to it; must not know the store or how samples are learned."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from checkpointing.content import Delta
from checkpointing.manifest import Gate, Manifest
from infra import spec
from infra.logs import logger
from kernels.rows import TableRows
from learner import checks
from learner.gate_memory import Memory, NamedArrays
from learner.gate_scores import scores
from learner.gate_stream import Stream, coverage, label_rates
from learner.held import Held, Stretch
from learner.reference import Reference
from learner.witness import Chunk, Evidence, Seen

_log = logger()


@dataclass
class QualityGate:
    """Refuses versions that would carry something broken to the replicas.

    A replica takes over everything since the last servable version, so all of that is judged each time: numbers that
    are none, growth of weights and rows, log loss and calibration against the last servable version on the same
    samples, label rates, and whether the features' columns are there.

    Args:
        settings: The bounds.
        stream: How samples are made.
        reference: Scores with the last servable version; None: nothing is scored.
        trainable: Names of the dense weights that are learned; the others may be of any size.
    """

    settings: spec.Gate = field(default_factory=spec.Gate)
    stream: Stream = field(default_factory=Stream)
    reference: Reference | None = None
    trainable: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._broken_rows: dict[str, set[int]] = {}
        self._held = Held()
        self._dense_square = 0.0
        self._restored_to = 0
        self._restored_from: int | None = None
        self.memory = Memory(len(self.stream.labels), len(self.stream.columns))

    @property
    def given_up(self) -> int | None:
        """The version to go back to after too many refusals; None while there are fewer."""
        most = self.settings.revert_after
        if most is None or not self.memory.servable or self.memory.refusals < most:
            return None
        return self.memory.servable

    def begin(self, servable: int) -> None:
        """A restore begins from nothing; ``servable`` is the newest servable version on its way, 0 without any."""
        self._broken_rows.clear()
        self._held.clear()
        self._restored_to, self._restored_from = servable, None
        self.forget_reference()

    def restored(self, delta: Delta) -> None:
        """A restore passes each version's content, oldest first."""
        for rows in delta.tables:
            self.note(rows)
        if delta.source.version <= self._restored_to:
            self._move_on(self._of(delta))
        else:
            self._hold(self._of(delta))
        if self._restored_from is None:
            self._restored_from = delta.source.version

    @property
    def lacks(self) -> int | None:
        """The servable version that the restore did not pass, since its base is newer; :meth:`refer` wants it."""
        passed = self._restored_from is None or self._restored_from <= self._restored_to
        return None if passed or self.reference is None or not self._restored_to else self._restored_to

    def forget_reference(self) -> None:
        """What replicas have is not known."""
        if self.reference is not None:
            self.reference.empty()

    def refer(self, delta: Delta) -> None:
        """Takes the next version on the way to :attr:`lacks` for what replicas have."""
        self._move_on(Stretch(delta.tables, delta.dense, self._nothing()))

    def migrated(self, dense: Mapping[str, npt.NDArray[Any]]) -> None:
        """What was restored is another pipeline's, and these are the weights that it became."""
        self._move_on(Stretch((), dense, self._nothing()))

    @property
    def of_taken_over(self) -> Gate:
        """What is said of a version that holds just what was restored."""
        return Gate(servable=False, reasons=("what was refused is in it",)) if len(self._held) else Gate(servable=True)

    def ended(self, state: Mapping[str, npt.NDArray[Any]], servable: int, by_promotion: bool = False) -> None:
        """A restore has ended.

        Args:
            state: What :meth:`state` gave then.
            servable: The newest servable version on the way, 0 without any.
            by_promotion: Whether that is one which this gate refused and a person let pass.
        """
        before = self.memory.newest_ms
        self.memory.load(state)
        known, self.memory.servable = self.memory.servable, servable
        if by_promotion and known < servable:  # the state was captured before the decision was heard
            self._accept_as_normal()
        if before is not None:  # the stream goes on where it is, whatever is restored
            self.memory.newest_ms = max(before, self.memory.newest_ms or 0)

    def state(self) -> NamedArrays:
        """What a later gate needs to go on, by name."""
        return self.memory.to_arrays()

    def reverted(self) -> None:
        """The learner went back to the version restored last; what came since is gone."""
        self.memory.forget_since()

    def stayed(self) -> None:
        """The learner could not go back: what it refused stays refused, and so many refusals are waited for again."""
        self.memory.refusals = 0

    def witnesses(self, newest: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        """The samples to score: the newest, behind those of the first version that was refused since the last pass."""
        first = next((version.chunks for version in self._held if version.chunks), ())
        return (*first, *newest)

    def judge(
        self,
        tables: Sequence[TableRows],
        dense: Mapping[str, npt.NDArray[Any]],
        log_loss_is_finite: bool,
        evidence: Evidence | None = None,
        promoted: Collection[int] = (),
    ) -> Gate:
        """Judges the state that a commit would lead to.

        Args:
            tables: The rows that changed.
            dense: All dense weights.
            log_loss_is_finite: Whether every loss since the last capture was a number.
            evidence: The samples since the last capture; None: only numbers are judged.
            promoted: Versions that a person let pass.
        """
        self._accept_promoted(promoted)
        memory = self.memory
        seen = self._nothing() if evidence is None else evidence.seen
        held = Stretch(tables, dense, seen, () if evidence is None else evidence.newest)
        reasons = [*self._not_finite(tables, dense, log_loss_is_finite), *self._sizes(tables, dense)]
        if evidence is not None:
            self._count(evidence)
            reasons += scores(self.settings, self.stream.labels, self.reference, evidence)
            reasons += [*label_rates(self.settings, self.stream, memory)]
            reasons += coverage(self.settings, self.stream, memory)
        self._hold(held)
        if reasons:
            memory.refusals += bool(seen.samples)
        else:
            self._pass()
        return Gate(servable=not reasons, reasons=tuple(reasons))

    def committed(self, manifest: Manifest) -> None:
        """The version judged last has its number."""
        if manifest.gate.servable:
            self.memory.servable = manifest.version
        else:
            self._held.number(manifest.version)

    def note(self, rows: TableRows) -> None:
        """Remembers which rows are not finite; a restore passes each version's rows, oldest first."""
        known = self._broken_rows.setdefault(rows.table, set())
        finite = np.isfinite(rows.values).all(axis=1)
        if known:
            known.difference_update(rows.keys[finite].tolist(), rows.tombstones.tolist())
        if not finite.all():
            known.update(rows.keys[~finite].tolist())

    def _pass(self) -> None:
        """All that is held goes to the replicas; what comes is compared with it."""
        for stretch in self._held:
            self._move_on(stretch)
        self.memory.accept(self.stream.bucket_ms, self.stream.window_ms, self.stream.ahead_ms)
        self._held.clear()

    def _accept_promoted(self, promoted: Collection[int]) -> None:
        """What a person let pass is the new normal."""
        accepted = self._held.take(promoted)
        if not accepted:
            return
        memory = self.memory
        memory.servable = max(version for version in promoted if version <= accepted[-1].version)
        rest = self._nothing()
        for stretch in self._held:
            rest = rest.plus(stretch.seen)
        for stretch in accepted:
            self._move_on(stretch)
        self._accept_as_normal()
        memory.since = rest
        _log.info("gate_overridden", version=memory.servable)

    def _accept_as_normal(self) -> None:
        memory = self.memory
        memory.normal = self._nothing()
        memory.closed[:] = 0
        memory.accept(self.stream.bucket_ms, self.stream.window_ms, self.stream.ahead_ms)

    def _nothing(self) -> Seen:
        return Seen.nothing(self.memory.labels, self.memory.columns)

    def _of(self, delta: Delta) -> Stretch:
        begins = self._restored_from is None
        return Stretch(delta.tables, delta.dense, self._nothing(), version=delta.source.version, begins=begins)

    def _hold(self, stretch: Stretch) -> None:
        self._held.add(stretch)
        if self.reference is not None:
            self.reference.bound(self._held.memory_bytes())
        if self.reference is None or self.reference.given_up:
            self._held.drop_rows()  # nobody will ask for them

    def _move_on(self, stretch: Stretch) -> None:
        if stretch.dense:
            self._dense_square = self._square(stretch.dense)
        if self.reference is not None:
            if stretch.begins:
                self.reference.empty()
            self.reference.take(stretch.tables, stretch.dense)

    def _count(self, evidence: Evidence) -> None:
        memory = self.memory
        memory.since = memory.since.plus(evidence.seen)
        if evidence.known_ms is None:
            return
        memory.newest_ms = max(memory.newest_ms or 0, evidence.known_ms)
        # Where labels are known at once, nobody waits for a verdict.
        passed = evidence.known_ms if self.stream.mode == "immediate" else evidence.passed_ms
        memory.passed_ms = max(memory.passed_ms or 0, passed or 0)
        if memory.closed_through is None:
            # Impressions from before the first sample may have been answered before it.
            memory.closed_through = evidence.known_ms
        for start, (samples, positives) in evidence.buckets.items():
            if start >= memory.closed_through:
                bucket = memory.buckets.setdefault(start, np.zeros(2))
                bucket += (samples, positives)

    def _not_finite(
        self, tables: Sequence[TableRows], dense: Mapping[str, npt.NDArray[Any]], log_loss_is_finite: bool
    ) -> Iterator[str]:
        for name, weight in dense.items():
            broken = int(np.count_nonzero(~np.isfinite(weight)))
            if broken:
                yield f"not finite: {broken} of {weight.size} values of dense weight `{name}`"
        for rows in tables:
            self.note(rows)
        for table, keys in self._broken_rows.items():
            if keys:
                yield f"not finite: {len(keys)} rows of table `{table}`"
        if not log_loss_is_finite:
            yield "not finite: the log loss of a batch"

    def _square(self, dense: Mapping[str, npt.NDArray[Any]]) -> float:
        weights = [np.asarray(weight, np.float64) for name, weight in dense.items() if name in self.trainable]
        values = sum(weight.size for weight in weights)
        return sum(float(np.square(weight).sum()) for weight in weights) / values if values else 0.0

    def _sizes(self, tables: Sequence[TableRows], dense: Mapping[str, npt.NDArray[Any]]) -> Iterator[str]:
        factor, memory = self.settings.norm, self.memory
        found = []
        for rows in tables:
            if rows.values.size:
                sums = memory.row_sums.setdefault(rows.table, np.zeros(2))
                # A square of float32 values may overflow; NaN and infinities are told elsewhere.
                values = np.nan_to_num(rows.values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
                sums += (float(np.square(values).sum()), values.size)
        if factor is None:
            return
        if self._dense_square:
            found.append(checks.norm("dense weights", self._square(dense), self._dense_square, factor))
        for table, (squares, values) in memory.row_sums.items():
            if values and table in memory.row_squares:
                found.append(checks.norm(f"table `{table}`", squares / values, memory.row_squares[table], factor))
        yield from filter(None, found)
