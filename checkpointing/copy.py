"""One store's versions in another store, at another provider if need be; must not know what they hold."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

from checkpointing import paths
from checkpointing.boundary import first_version
from checkpointing.history import ahead, newest_version, read_manifest
from checkpointing.lease import Lease
from infra.clock import Clock
from infra.errors import Corrupt, Invalid
from infra.object_store import NotFound, ObjectStore

# Nothing is named before it is there; a reader of the copy sees a shorter line at most.
ORDER = (paths.COMPACTED, paths.GRAPHS, paths.VERSIONS, paths.BASES, paths.MANIFESTS, paths.CONTROL)


def copy_store(
    source: ObjectStore,
    target: ObjectStore,
    model: str,
    clock: Clock,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Copies everything up to the newest version of now; repeat it to bring the copy up to date.

    Args:
        source: The model's store; a writer may go on.
        target: An empty one, or an earlier copy.
        model: The model's name.
        clock: Tells when to renew the lease on the source.
        progress: Called with (objects done, in all).

    Returns:
        The newest version of the copy.

    Raises:
        Invalid: The source has no version, or the target holds another line.
        Corrupt: An object of the target is not the source's.
        Unavailable: One of the two does not answer.
    """
    newest = newest_version(source)
    if newest is None:
        raise Invalid("the source holds no version", where=source.url)
    with Lease(source, "copy", clock) as lease:
        lease.take(first_version(source))
        _refuse_another_line(source, target, model)
        keys = [key for prefix in ORDER for key in _kept(source.list(prefix), newest)]
        if source.exists(paths.BOUNDARY_KEY):
            keys.insert(next((at for at, key in enumerate(keys) if key.startswith(paths.BASES)), 0), paths.BOUNDARY_KEY)
        for done, _ in enumerate(ahead(lambda key: _copy(source, target, key), keys), start=1):
            lease.renew()
            progress(done, len(keys))
    return newest


def _kept(keys: list[str], newest: int) -> list[str]:
    """Without what belongs to versions that came while the list was made."""
    return [key for key in keys if (paths.manifest_version(key) or paths.pack_version(key) or 0) <= newest]


def _refuse_another_line(source: ObjectStore, target: ObjectStore, model: str) -> None:
    held = newest_version(target)
    if held is None:
        return
    ours, theirs = read_manifest(source, model, held), read_manifest(target, model, held)
    if ours is None or theirs is None or ours.commit_uuid != theirs.commit_uuid:
        raise Invalid(
            f"the target's version {held} is not the source's",
            wanted="an empty prefix, or an earlier copy",
            cure="choose another prefix",
            where=target.url,
        )


def _copy(source: ObjectStore, target: ObjectStore, key: str) -> None:
    replaced = key == paths.BOUNDARY_KEY
    if not replaced and target.exists(key):
        return
    try:
        data = source.get(key)
    except NotFound:
        return  # an orphan, collected meanwhile
    target.put(key, data)
    if target.head(key) != len(data):
        raise Corrupt(f"the copy has {target.head(key)} bytes", wanted=f"{len(data)} bytes", where=key)
