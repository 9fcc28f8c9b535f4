"""The numbered line as it is read back: what is absent, what is missing, and a range of it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest

from checkpointing import paths
from checkpointing.history import manifests, read_manifest
from checkpointing.manifest import Manifest
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.errors import Invalid
from infra.object_store import NotFound, ObjectStore
from tests.checkpointing.reference import content
from tests.checkpointing.stepping_clock import SteppingClock

MODEL = "model"


def test_absent_versions_are_told_from_missing_ones(store: ObjectStore, clock: SteppingClock) -> None:
    Writer.take_over(store, MODEL, "learner-0", clock)
    with pytest.raises(Invalid, match="no version 7"):
        restore(store, MODEL, 7)
    assert read_manifest(store, MODEL, 7) is None
    with pytest.raises(NotFound):
        store.get(paths.manifest_key(7))


def test_history_lists_a_range(store: ObjectStore, clock: SteppingClock) -> None:
    writer = Writer.take_over(store, MODEL, "learner-0", clock)
    for offset in range(20):
        writer.commit(content({1: offset}, offset=offset))
    assert [m.version for m in manifests(store, MODEL, 5, 9)] == [5, 6, 7, 8, 9]
    assert [m.version for m in manifests(store, MODEL, 18)] == [18, 19, 20, 21]
    assert list(manifests(store, MODEL, 30)) == []
    line: list[Manifest] = list(itertools.islice(manifests(store, MODEL), 3))
    assert [m.kind for m in line] == ["claim", "delta", "delta"]
