"""What the gate holds of refused versions: bounded, and no less than what replicas would get; also after a restart."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from checkpointing.compact import compact
from checkpointing.content import no_state
from checkpointing.manifest import Gate
from infra import spec
from infra.clock import SystemClock
from infra.feature_spec import feature_spec_hash
from infra.object_store import open_store
from learner.assembly import build_gate
from learner.held import Held, Stretch
from learner.restore import restore_trainer
from learner.witness import Seen
from tests.learner.live_model import commit, teach
from tests.learner.messages import pipeline
from tests.learner.training import make_trainer


def version(number: int, keys: list[int], gone: list[int] | None = None) -> Stretch:
    """Rows of value ``number``."""
    values = np.full((len(keys), 4), number, np.float32)
    rows = no_state("t", np.array(keys, np.int64), values, np.array(gone or [], np.int64))
    return Stretch([rows], {}, Seen(1.0, np.zeros(1), np.zeros(1), np.zeros(1)), version=number)


def test_rows_that_change_again_and_again_are_held_a_few_times() -> None:
    held = Held()
    for number in range(1, 1001):
        held.add(version(number, [*range(50), 1000 + number % 7], [2000 + number % 5]))
    assert len(held) < 20
    assert held.memory_bytes() < 15 * 60 * (8 + 16)
    newest: dict[int, float] = {}
    for stretch in held:
        for rows in stretch.tables:
            newest |= dict(zip(rows.keys.tolist(), rows.values[:, 0].tolist(), strict=True))
    assert newest == dict.fromkeys(range(50), 1000.0) | {
        1000 + number % 7: float(number) for number in range(994, 1001)
    }
    assert sum(stretch.seen.samples for stretch in held) == 1000


def test_a_key_that_went_and_came_is_there_once() -> None:
    held = Held()
    for number, (keys, gone) in enumerate([([1, 2], []), ([3], [1]), ([1], [2])], start=1):
        held.add(version(number, keys, gone))
    for number in range(4, 20):
        held.add(version(number, [9]))
    rows = next(iter(held)).tables[0]
    assert dict(zip(rows.keys.tolist(), rows.values[:, 0].tolist(), strict=True)) == {1: 3, 3: 2}
    assert rows.tombstones.tolist() == [2]


def test_the_newest_versions_are_promoted_one_by_one_and_older_ones_together() -> None:
    held = Held()
    for number in range(1, 31):
        held.add(version(number, [number]))
    assert held.take({28, 5})[-1].version == 28
    assert [stretch.version for stretch in held] == [29, 30]
    for number in range(31, 61):
        held.add(version(number, [number]))
    taken = held.take({33})
    assert taken[0].first == 29 and taken[-1].first <= 33 <= taken[-1].version
    assert held.take({3}) == []


def test_what_replicas_have_is_known_although_the_restore_began_with_a_newer_base() -> None:
    chosen = pipeline()
    store = open_store(spec.Store(url="memory://newer-base"))
    learned = make_trainer(chosen)
    teach(learned, 0, 128)
    servable = commit(learned, chosen, store)
    served = learned.step.dense()
    teach(learned, 128, 128)
    refused = commit(learned, chosen, store, gate=Gate(servable=False, reasons=("a reason",)))
    assert compact(store, chosen.name, refused, SystemClock()) is not None
    trainer = make_trainer(chosen)
    gate = build_gate(chosen, trainer)
    restore_trainer(trainer, gate, store, chosen.name, refused, feature_spec_hash(chosen))
    assert gate.memory.servable == servable and gate.reference is not None
    for mine, theirs in zip(gate.reference._dense, served.values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert gate.reference.score(()) is not None
