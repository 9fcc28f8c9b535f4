"""Takes the line over from another writer, or begins it; knows the rules of FORMAT.md 5.2, writes no content."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from checkpointing.boundary import BoundaryLog
from checkpointing.commit import Gone, Persistence, Taken, land
from checkpointing.history import newest_version, read_manifest
from checkpointing.manifest import Gate, Manifest, Timeline
from infra.backoff import Stopped
from infra.clock import Clock, new_uuid
from infra.errors import Fenced
from infra.object_store import ObjectStore

LOOK_EVERY_S: Final = 0.5
MOST_RACES: Final = 50


def claim(
    store: ObjectStore,
    model: str,
    identity: str,
    persistence: Persistence,
    boundaries: BoundaryLog,
    *,
    takeover: bool,
    quiet_s: float,
    on_wait: Callable[[str], None] | None,
) -> Manifest:
    """Commits a claim on top of the newest version and returns it.

    Raises:
        Fenced: Another writer with another identity is alive.
        Unavailable: The store does not answer.
        Stopped: The process was asked to stop.
    """
    for _ in range(MOST_RACES):
        newest = persistence.tries(lambda: _newest(store, model), "find the newest version")
        if newest is not None and newest.learner != identity and not takeover:
            _await_quiet(store, newest, persistence, quiet_s, on_wait)
        manifest = _claim_after(newest, model, identity, persistence.clock)
        try:
            land(store, manifest, manifest.to_json(), persistence, boundaries)
        except Taken as taken:
            if taken.found.learner != identity and not takeover:
                raise _alive(taken.found, store) from None
        except Gone:
            continue  # this process stood still for so long that the line went on and was collected
        else:
            return manifest
    raise Fenced(
        f"lost {MOST_RACES} races for the next version to another writer",
        cure="stop the other learner of this model",
        where=store.url,
    )


def _newest(store: ObjectStore, model: str) -> Manifest | None:
    version = newest_version(store)
    return None if version is None else read_manifest(store, model, version)


def _await_quiet(
    store: ObjectStore,
    newest: Manifest,
    persistence: Persistence,
    quiet_s: float,
    on_wait: Callable[[str], None] | None,
) -> None:
    """Returns once no manifest has followed ``newest`` for ``quiet_s``, by our own clock alone."""
    if on_wait is not None:
        on_wait(
            f"version {newest.version} is by learner `{newest.learner}`; waiting {quiet_s:g} s for signs of its life"
        )
    clock = persistence.clock
    end = clock.monotonic() + quiet_s
    while (left := end - clock.monotonic()) > 0:
        if clock.wait(persistence.stop, min(left, LOOK_EVERY_S)):
            raise Stopped("claim")
        found = persistence.tries(
            lambda: read_manifest(store, newest.model, newest.version + 1), "look for another writer"
        )
        if found is not None:
            raise _alive(found, store)


def _alive(found: Manifest, store: ObjectStore) -> Fenced:
    return Fenced(
        f"learner `{found.learner}` is alive: it committed version {found.version}",
        wanted="one learner per model",
        cure="stop it, or start this one with --takeover",
        where=store.url,
    )


def _claim_after(newest: Manifest | None, model: str, identity: str, clock: Clock) -> Manifest:
    return Manifest(
        model=model,
        version=1 if newest is None else newest.version + 1,
        parent=None if newest is None else newest.version,
        base_ref=None,
        kind="claim",
        epoch=1 if newest is None else newest.epoch + 1,
        commit_uuid=new_uuid(),
        attempt=new_uuid(),
        learner=identity,
        positions=() if newest is None else newest.positions,
        batches=(),
        learned_through=None if newest is None else newest.learned_through,
        newest_known_ts=None if newest is None else newest.newest_known_ts,
        label_histogram={},
        probes=(),
        timeline=Timeline(),
        metrics={},
        files=(),
        graph=None,
        feature_spec_hash="" if newest is None else newest.feature_spec_hash,
        gate=Gate(servable=False, reasons=("claim",)),
        environment={},
        created_ts=clock.now_ms(),
        obeyed=0 if newest is None else newest.obeyed,
    )
