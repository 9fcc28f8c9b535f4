"""Quality by impression time adds up exactly over restarts, folds and back-fill from a store on disk."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from checkpointing.content import Content
from checkpointing.history import manifests
from checkpointing.manifest import Manifest
from checkpointing.quality import add_up
from checkpointing.writer import Writer
from dashboard.history import History
from dashboard.past import COARSE
from dashboard.quality import FINE_KEPT_MS, QualityByTime
from dashboard.versions import ManifestReader, VersionLog, bucket_increments, quality_sums
from infra.object_store import ObjectStore, open_store
from infra.spec import Store
from tests.dashboard.loop import BUCKET_MS, CLOCK, quality_of

WINDOW_MS = 5_000
T0 = 1_700_000_000_000 - 1_700_000_000_000 % COARSE


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(Store(url=(tmp_path / "versions").as_uri()))


def write(store: ObjectStore, starts: list[list[int]]) -> list[Manifest]:
    """One version per list of buckets, after the claim."""
    writer = Writer.take_over(store, "m", "test", CLOCK)
    for number, buckets in enumerate(starts):
        metrics = {str(t): quality_of(50 + number, 10 + number % 7, seed=number) for t in buckets}
        writer.commit(Content(metrics=metrics, learned_through=max(buckets) if buckets else None))
    return list(manifests(store, "m"))


def quality(history: History) -> QualityByTime:
    return QualityByTime(history, bucket_ms=BUCKET_MS, window_ms=WINDOW_MS)


def test_sums_are_those_of_the_manifests_over_restarts_and_repeats(tmp_path: Path, store: ObjectStore) -> None:
    line = write(store, [[T0 + BUCKET_MS * n, T0] for n in range(12)])
    wanted = add_up(bucket_increments(manifest) for manifest in line)
    history = History(tmp_path / "h.sqlite")
    for cut in (3, 3, 7, len(line)):
        seen = quality(history)
        seen.add(line[:cut])
        if cut != 7:  # that once, the page is killed before it has written
            seen.save()
        history.close()
        history = History(tmp_path / "h.sqlite")
    kept = quality(history)
    assert kept.through == len(line)
    point = kept.overall_point()
    assert point.samples == wanted.samples
    assert point.auc == pytest.approx(wanted.auc, abs=1e-5)
    assert point.log_loss == pytest.approx(wanted.log_loss, abs=1e-5)
    assert sum(p.samples for p in kept.points()) == wanted.samples
    history.close()


def test_a_bucket_closes_when_every_verdict_of_it_was_learned(tmp_path: Path, store: ObjectStore) -> None:
    line = write(store, [[T0], [T0 + BUCKET_MS], [T0 + BUCKET_MS + WINDOW_MS]])
    history = History(tmp_path / "h.sqlite")
    seen = quality(history)
    seen.add(line[:3])
    assert seen.last_closed() is None, "positives come a window earlier than negatives"
    seen.add(line[3:])
    closed = seen.last_closed()
    assert closed is not None and closed.t == T0
    assert [p.closed for p in seen.changed(3)] == [True, False, False]
    assert seen.changed(3) == []
    history.close()


def test_old_buckets_are_folded_without_losing_a_sample(tmp_path: Path, store: ObjectStore) -> None:
    far = T0 + FINE_KEPT_MS + COARSE
    line = write(store, [[T0 + BUCKET_MS * n for n in range(40)], [far], [T0 + BUCKET_MS, far]])
    wanted = add_up(bucket_increments(manifest) for manifest in line)
    history = History(tmp_path / "h.sqlite")
    seen = quality(history)
    for manifest in line:
        seen.add([manifest])
        seen.save()
    assert {p.t for p in seen.points()} >= {T0, far}
    assert T0 + BUCKET_MS not in {p.t for p in seen.points()}, "older than two hours: five minutes wide"
    assert sum(p.samples for p in seen.points()) == wanted.samples
    history.close()
    history = History(tmp_path / "h.sqlite")
    again = quality(history)
    assert [(p.t, p.samples, p.auc) for p in again.points()] == [(p.t, p.samples, p.auc) for p in seen.points()]
    again.add(line)
    again.save()
    assert again.points() == seen.points(), "the newest manifests say again what is closed"
    history.close()


def test_an_empty_history_is_filled_from_the_manifests(store: ObjectStore) -> None:
    line = write(store, [[T0 + n] for n in range(30)])
    reader = ManifestReader(store, "m", CLOCK, 1_000)
    name = reader.poll(None)
    assert name.line == line[0].commit_uuid and name.manifests == []
    assert reader.poll(0).manifests == line
    assert reader.poll(0).manifests == []
    writer = Writer.take_over(store, "m", "test", CLOCK)
    assert [m.version for m in reader.poll(0).manifests] == [writer.version]


def test_a_row_of_the_table_says_what_the_version_holds(store: ObjectStore) -> None:
    manifest = write(store, [[T0]])[1]
    log = VersionLog()
    log.add(manifest, quality_sums(manifest))
    (shown,) = log.rows(3, {2: ["replica-0"]})
    assert shown["served_by"] == ["replica-0"]
    assert (shown["version"], shown["kind"], shown["samples"], shown["servable"]) == (2, "delta", 50, True)
    assert shown["served_by"] == ["replica-0"] and 0.5 < shown["auc"] <= 1
