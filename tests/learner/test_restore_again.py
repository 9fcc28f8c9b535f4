"""A restore that failed half-way is tried again upon a newer base: nothing of the first try is left."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from checkpointing.compact import compact
from checkpointing.content import Content
from checkpointing.writer import Writer
from infra import spec
from infra.clock import SystemClock
from infra.errors import Unavailable
from infra.feature_spec import feature_spec_hash
from infra.object_store import open_store
from kernels.rows import AdmissionCounts
from learner.gate import QualityGate
from learner.restore import restore_trainer
from learner.table_state import counts_to_arrays
from learner.trainer import state_of
from tests.learner.messages import pipeline
from tests.learner.training import make_trainer


def test_neither_rows_nor_counts_nor_bars_survive_a_failed_try() -> None:
    counted = {"kind": "counter", "occurrences": 2}
    tables = [{"name": name, "dim": 4, "admission": counted} for name in ("user", "item", "genre")]
    chosen = pipeline(tables=tables)
    digest = feature_spec_hash(chosen)
    store = open_store(spec.Store(url="memory://restored-again"))
    writer = Writer.take_over(store, chosen.name, "one", SystemClock())
    trainer, gate = make_trainer(chosen), QualityGate()
    one = np.array([7], np.int64)
    counts = AdmissionCounts("item", one, np.empty((1, 0), np.uint8), np.ones(1, np.uint32), one)
    barred = replace(
        trainer.tables.export("item"),
        keys=one,
        values=np.full((1, 4), np.nan, np.float32),
        slots=np.zeros((1, trainer.tables.slot_width("item")), np.float32),
        frequency=np.ones(1, np.uint32),
        last_seen=one,
        counts=counts,
    )
    forgotten = replace(counts, occurrences=np.zeros(1, np.uint32))
    empty = {name: getattr(barred, name)[:0] for name in ("keys", "values", "slots", "frequency", "last_seen")}
    cured = replace(barred, **empty, tombstones=one, counts=forgotten)
    for rows in (barred, cured):
        ids = counts_to_arrays([rows])
        writer.commit(Content(tables=[rows], sample_ids=ids, feature_spec_hash=digest))

    def fail(done: int, _: int) -> None:
        assert done == 1
        raise Unavailable("the store does not answer")

    with pytest.raises(Unavailable):
        restore_trainer(trainer, gate, store, chosen.name, 3, digest, fail)
    assert trainer.tables.row_count("item") == 1 and not gate.judge([], {}, True).servable
    assert compact(store, chosen.name, 3, SystemClock()) is not None
    restore_trainer(trainer, gate, store, chosen.name, 3, digest)
    fresh = make_trainer(chosen)
    restore_trainer(fresh, QualityGate(), store, chosen.name, 3, digest)
    wanted, got = state_of(fresh), state_of(trainer)
    for part in (part for part in wanted if part.startswith(("rows/", "counts/"))):
        assert wanted[part].tobytes() == got[part].tobytes(), part
    assert gate.judge([], {}, True).servable
