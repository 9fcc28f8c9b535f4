"""Takes another pipeline's state over into a trainer, as ``learner/change.py`` decides; must not know stores.

Rows come delta by delta, so that no more of them is in memory than a restore has.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from checkpointing.content import Delta, LearnerState
from infra import spec
from infra.feature_spec import state_outline
from infra.logs import logger
from kernels.batch import EncodedBatch
from kernels.dense_rule import DenseRule
from kernels.features import RunningStatistics
from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings
from kernels.optimizer_settings import OptimizerSettings
from kernels.rows import AdmissionCounts, TableRows
from kernels.settings import ColumnSettings, TableSettings
from kernels.tables import EmbeddingTables
from learner.change import Change, TableRule, change
from learner.gate_memory import without_memory
from learner.models.axes import Axis, axes_of
from learner.optimizers import STEP
from learner.outline import Outline, without_outline
from learner.step import LOSS
from learner.table_state import STATE
from learner.trainer import Trainer

_log = logger()

Array = npt.NDArray[Any]
NamedArrays = dict[str, Array]
Floats = npt.NDArray[np.float32]

# Keys whose first rows are asked for in one call.
_AT_ONCE: Final = 4096
_NO_TABLE: Final = TableRule("fresh", "fresh", "fresh")


class Migration:
    """One restore of another pipeline's version.

    Args:
        change: What becomes of what.
        pipeline: The new one.
        trainer: Gets the state; in its first one.
    """

    def __init__(self, change: Change, pipeline: spec.Pipeline, trainer: Trainer) -> None:
        self._change = change
        self._model = pipeline.model.name
        self._dense_rule = _Rule(OptimizerSettings.of(pipeline.model.optimizer.model_dump()))
        self._trainer = trainer
        self._settings = {table.name: table for table in trainer.tables.tables}
        self._rules = {name: _Rule(table.optimizer) for name, table in self._settings.items()}
        self._steps = 0

    @property
    def same_stream(self) -> bool:
        """Whether samples have the columns and labels that they had."""
        return self._change.same_stream

    def rows(self, delta: Delta) -> list[TableRows]:
        """The rows of one version as the new tables take them; of tables that end or begin anew, none."""
        if STATE in delta.dense_optimizer:
            self._steps = int(delta.dense_optimizer[STATE][0])
        found = ((rows, self._rule_of(rows.table)) for rows in delta.tables)
        return [self._rows(rows, rule) for rows, rule in found if rule.rows != "fresh"]

    def counts(self, counts: Iterable[AdmissionCounts]) -> list[AdmissionCounts]:
        """What admission remembers, likewise."""
        return [each for each in counts if self._rule_of(each.table).counts == "kept"]

    def arrays(self, state: LearnerState) -> None:
        """Takes over what stands beside the rows: dense weights, statistics, steps."""
        trainer, own = self._trainer, without_outline(without_memory(state.dense_optimizer))
        if STATE in own:
            steps = trainer.tables.state()
            # Where sweeps stand means nothing in other tables: they begin anew.
            steps[:2] = np.asarray(own.pop(STATE), np.int64)[:2]
            trainer.tables.restore(steps)
        if state.dense and self._change.dense != "fresh":
            fresh = trainer.step.dense()
            dense = {name: self._moved(state.dense.get(name), value, name) for name, value in fresh.items()}
            trainer.step.load(dense)
            trainer.step.load_own(self._own(dense, state.dense, own))
        if state.statistics:
            places = {0: self._change.standard}
            fresh = trainer.statistics.state()
            moved = {name: _taken_over(np.asarray(state.statistics[name]), fresh[name], places) for name in fresh}
            trainer.statistics = RunningStatistics.from_state(trainer.encoder.features, moved)

    def mark_all(self) -> None:
        """Lets the next capture hold everything, for a version that begins from nothing."""
        tables = self._trainer.tables
        for table in tables.tables:
            tables.put_back([tables.export(table.name)])

    def _rule_of(self, stored: str) -> TableRule:
        space = self._trainer.tables.spaces.get(stored)
        return _NO_TABLE if space is None else self._change.tables[space]

    def _rows(self, rows: TableRows, rule: TableRule) -> TableRows:
        dim = self._settings[rows.table].dim
        values = np.zeros((len(rows.keys), dim), np.float32)
        if rule.rows == "widened" and len(values):
            values = _first_values(self._settings[rows.table], rows.keys)
        values[:, : rows.values.shape[1]] = rows.values
        return replace(rows, values=values, slots=self._slots(rows, rule, values), counts=None)

    def _slots(self, rows: TableRows, rule: TableRule, values: Floats) -> Floats:
        """The optimizer's state of rows that have ``values`` now; stamped where rows leave by steps."""
        of = self._rules[rows.table]
        was, dim = rows.values.shape[1], values.shape[1]
        slots = of.begin(values)
        if rule.slots == "kept":
            for part in range(of.wide):
                slots[:, part * dim : part * dim + was] = rows.slots[:, part * was : (part + 1) * was]
            slots[:, of.wide * dim :] = rows.slots[:, of.wide * was : of.width(was)]
        if self._trainer.tables.slot_width(rows.table) == of.width(dim):
            return slots
        stamped = rule.slots == "kept" and rows.slots.shape[1] > of.width(was)
        stamps = np.full((len(values), 1), self._steps, np.uint32).view(np.float32)
        return np.concatenate([slots, rows.slots[:, -1:] if stamped else stamps], axis=1)

    def _moved(self, old: Array | None, fresh: Array, name: str) -> Array:
        """``fresh`` with what ``old`` has for the same columns."""
        if old is None:
            return fresh
        change = self._change
        places = {"input": change.columns, "numbers": change.numbers}
        axes: Mapping[int, Axis] = {}
        if change.dense == "widened":
            axes = {0: "input"} if name.startswith(LOSS) and name.endswith("_kernel") else axes_of(self._model, name)
        return _taken_over(np.asarray(old), fresh, {axis: places[of] for axis, of in axes.items()})

    def _own(self, dense: NamedArrays, dense_before: Mapping[str, Array], own: Mapping[str, Array]) -> NamedArrays:
        """The state of the weights' rule, and what the loss has learned."""
        step, change, rule = self._trainer.step, self._change, self._dense_rule
        state = step.own_state()
        loss = {name: value for name, value in state.items() if name.startswith(LOSS)}
        if change.loss == "kept":
            loss = {name: self._moved(own.get(name), value, name) for name, value in loss.items()}
        # One after the other, as the rule counts them: trainable weights, then what the loss learns.
        fixed = set(dense) - step.trainable_names
        before = [*(name for name in dense_before if name not in fixed), *(name for name in own if name in loss)]
        now = {name: value for name, value in dense.items() if name not in fixed} | loss
        slots: NamedArrays = {}
        for place, (name, value) in enumerate(now.items()):
            begun = rule.begin(np.asarray(value, np.float32).reshape(1, -1))[0]
            if change.dense_optimizer == "kept" and name in before and (change.loss == "kept" or name not in loss):
                old = np.asarray(dense_before[name] if name in dense_before else own[name])
                slot = np.asarray(own[f"slots_{before.index(name)}"])
                for part in range(rule.wide):
                    fresh = begun[part * value.size : (part + 1) * value.size].reshape(value.shape)
                    known = slot[part * old.size : (part + 1) * old.size].reshape(old.shape)
                    begun[part * value.size : (part + 1) * value.size] = self._moved(known, fresh, name).reshape(-1)
                begun[rule.wide * value.size :] = slot[rule.wide * old.size :]
            slots[f"slots_{place}"] = begun
        count = own[STEP] if change.dense_optimizer == "kept" else np.zeros_like(state[STEP])
        return {STEP: np.asarray(count), **slots, **loss}


class _Rule:
    """An optimizer's state, as its arrays and single numbers.

    Attributes:
        wide: How many numbers it keeps per value.
        single: How many beside those.
    """

    def __init__(self, settings: OptimizerSettings) -> None:
        self._rule = DenseRule(settings)
        one, two = (len(self._rule.begin(np.zeros(size, np.float32))) for size in (1, 2))
        self.wide, self.single = two - one, 2 * one - two

    def width(self, dim: int) -> int:
        """Numbers of state of a row of ``dim`` values."""
        return self.wide * dim + self.single

    def begin(self, values: Floats) -> Floats:
        """The state ``[n, width]`` of rows ``[n, dim]`` that were never updated."""
        count, dim = values.shape
        state = self._rule.begin(values.reshape(-1))
        arrays, single = np.split(state, [self.wide * values.size])
        arrays = arrays.reshape(self.wide, count, dim).swapaxes(0, 1).reshape(count, self.wide * dim)
        return np.concatenate([arrays, np.tile(single, (count, 1))], axis=1)


def _taken_over(old: Array, fresh: Array, places: Mapping[int, Sequence[int]]) -> Array:
    """``fresh`` with what ``old`` has along each axis at ``places``; -1: nothing. Other axes are alike."""
    if not places:
        return old
    into: list[npt.NDArray[np.int64]] = []
    out: list[npt.NDArray[np.int64]] = []
    for axis, size in enumerate(fresh.shape):
        at = np.array(places.get(axis, range(size)), np.int64)
        into.append(np.flatnonzero(at >= 0))
        out.append(at[at >= 0])
    taken = fresh.copy()
    taken[np.ix_(*into)] = old[np.ix_(*out)]
    return taken


def _first_values(table: TableSettings, keys: npt.NDArray[np.int64]) -> Floats:
    """The rows ``[n, dim]`` that ``keys`` would begin with."""
    plain = replace(table, precision="float32", admission=AdmissionSettings(), eviction=EvictionSettings())
    column = ColumnSettings("key", table.name, "sum")
    empty = EmbeddingTables([plain], [column], 0, max_batch=_AT_ONCE, trainable=False)
    reader = empty.reader()
    found = [np.empty((0, table.dim), np.float32)]
    for begin in range(0, len(keys), _AT_ONCE):
        part = np.ascontiguousarray(keys[begin : begin + _AT_ONCE])
        batch = EncodedBatch(len(part), (part,), (None,), np.empty((len(part), 0), np.float32))
        found.append(reader.lookup(batch)[:, : table.dim].copy())
    return np.concatenate(found)


def migrations(pipeline: spec.Pipeline, trainer: Trainer, where: str) -> Callable[[Outline], Migration]:
    """For a restore: what becomes of the state of a pipeline with another outline.

    What it returns raises Invalid where the rules refuse the change.

    Args:
        pipeline: The new one.
        trainer: Made of it.
        where: The store's address, for messages.
    """

    def migrate(outline: Outline) -> Migration:
        decided = change(outline, state_outline(pipeline))
        decided.refuse(where)
        for line in decided.lines:
            _log.info("pipeline_changed", part=line.part, what=line.what, rule=line.rule, why=line.why)
        return Migration(decided, pipeline, trainer)

    return migrate
