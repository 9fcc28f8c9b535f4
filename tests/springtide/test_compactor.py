"""The compactor finds something to do while nothing is servable, and leaves replicas what they answer from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from pathlib import Path

from checkpointing.base import base_versions
from checkpointing.manifest import Gate
from checkpointing.writer import Writer
from infra.object_store import open_store
from infra.pipeline_file import load_pipeline
from infra.spec import Store
from springtide.upkeep import Compactor
from tests.checkpointing.reference import content
from tests.checkpointing.stepping_clock import SteppingClock
from tests.infra.pipelines import GOOD

REFUSED = Gate(servable=False, reasons=("calibration",))


def test_refused_versions_are_compacted_too(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(GOOD, encoding="utf-8")
    pipeline, clock = load_pipeline(tmp_path / "pipeline.yaml"), SteppingClock()
    store = open_store(Store(url=(tmp_path / "store").as_uri()))
    compactor = Compactor(store, pipeline, clock, threading.Event())
    writer = Writer.take_over(store, pipeline.name, "a", clock)
    for offset in range(1, 41):
        writer.commit(content({offset: 1}, offset=offset, gate=REFUSED))
    assert compactor.look() is None and base_versions(store) == []
    for offset in range(41, 71):
        writer.commit(content({offset: 1}, offset=offset, gate=REFUSED))
    made = compactor.look()
    assert made is not None and base_versions(store) == [71]
    writer.commit(content({71: 1}, offset=71))
    for offset in range(72, 142):
        writer.commit(content({offset: 1}, offset=offset, gate=REFUSED))
    made = compactor.look()
    assert made is not None and made.base.version == 142
    assert base_versions(store) == [71, 72, 142]  # the servable one, and the newest
