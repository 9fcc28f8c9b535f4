"""A revert replaces all that a replica holds, and leads past what is wrong."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from checkpointing import paths
from checkpointing.follower import Follower
from checkpointing.manifest import Gate, Manifest
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.clock import new_uuid
from infra.errors import Corrupt
from infra.object_store import ObjectStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock

MODEL = "model"
REFUSED = Gate(servable=False, reasons=("calibration",))


def revert(store: ObjectStore, last: Manifest, base_ref: int) -> Manifest:
    """Commits a revert by hand, as a later writer of this format will."""
    manifest = last.model_copy(
        update={
            "version": last.version + 1,
            "parent": last.version,
            "base_ref": base_ref,
            "kind": "revert",
            "commit_uuid": new_uuid(),
            "attempt": new_uuid(),
            "files": (),
            "gate": Gate(servable=True),
        }
    )
    store.create(paths.manifest_key(manifest.version), manifest.to_json())
    return manifest


def test_a_revert_replaces_everything(memory: ObjectStore, writer: Writer, follower: Follower) -> None:
    replica = Reference()
    first = content({1: 1, 2: 2}, offset=1, dense={"w": np.ones(1, dtype=np.float32)})
    writer.commit(first)
    for step in (
        content({1: 9, 3: 9}, offset=2, dense={"w": np.zeros(1, dtype=np.float32)}),
        content({4: 9}, offset=3),
    ):
        writer.commit(step)
        update = follower.poll()
        assert update.switch is not None
        replica.apply(update.switch)
    manifest = revert(memory, writer.last, base_ref=2)
    update = follower.poll()
    assert update.switch is not None and update.switch.full and update.switch.version == manifest.version
    replica.apply(update.switch)
    Reference.of([first]).assert_serves(replica)
    Reference.of([first]).assert_is(restore(memory, MODEL))
    after = content({5: 5}, offset=9)
    Writer.take_over(memory, MODEL, "learner-0", SteppingClock()).commit(after)
    update = follower.poll()
    assert update.switch is not None and not update.switch.full
    replica.apply(update.switch)
    Reference.of([first, after]).assert_serves(replica)
    Reference.of([first, after]).assert_is(restore(memory, MODEL))


def test_a_revert_leads_past_a_wrong_file(memory: ObjectStore, writer: Writer, follower: Follower) -> None:
    writer.commit(content({1: 1}, offset=1))
    follower.poll()
    broken = writer.commit(content({1: 2}, offset=2))
    memory.put(broken.files[0].key, b"")
    assert isinstance(follower.poll().problem, Corrupt)
    revert(memory, broken, base_ref=2)
    update = follower.poll()
    assert update.switch is not None and update.switch.version == 4 and follower.problem is None
