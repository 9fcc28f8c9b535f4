"""Deltas become a base: the same rows and arrays, read once instead of a thousand times; never touches the line."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from checkpointing import paths
from checkpointing.base import MAX_BASE_BYTES, MAX_HASH_BITS, Base, read_base
from checkpointing.chain import Chain
from checkpointing.commit import Persistence
from checkpointing.content import Content, Delta
from checkpointing.download import fetch
from checkpointing.hash_order import mix64
from checkpointing.history import ahead
from checkpointing.lease import Lease, plan_held
from checkpointing.link import Link
from checkpointing.merge import Fold, merge, without_tombstones
from checkpointing.pack import pack
from checkpointing.packfile import File
from checkpointing.precision import Precision
from checkpointing.restore import Arrays
from checkpointing.windows import joined_sample_ids
from infra.clock import Clock, new_uuid
from infra.errors import Bug, Corrupt, Invalid
from infra.object_store import AlreadyExists, ObjectStore
from kernels.rows import TableRows

# Large enough for few requests, small enough for several in memory beside a learner.
PART_BYTES: Final = 64 << 20
# Parts in memory at once.
PARTS_AT_ONCE: Final = 2
RETRY_FOR_S: Final = 60.0
# Few deltas are no burden to a start-up, many are, however small.
FEW_DELTAS: Final = 64
# What a base's object says of a part with two files, and of one section, at most.
LISTED_PART_BYTES: Final = 1024
LISTED_RANGE_BYTES: Final = 320
MANY_DELTAS: Final = 1024


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes:
        base: The base that the version has now.
        deltas: How many deltas were folded into it.
        read_bytes: Bytes of base and deltas before.
    """

    base: Base
    deltas: int
    read_bytes: int


def compact(
    store: ObjectStore,
    model: str,
    version: int,
    clock: Clock,
    *,
    window_ms: int | None = None,
    part_bytes: int = PART_BYTES,
    stop: threading.Event | None = None,
) -> Compacted | None:
    """Makes the base of ``version``, beside a running writer; safe to kill and to repeat.

    Memory: the distinct rows since the base before, twice, and a few parts.

    Args:
        store: The model's store.
        model: Its name.
        version: Which one; replicas need one that is servable, learners do not.
        clock: Passes the time.
        window_ms: How long sample ids are remembered; older ones are dropped. None keeps all.
        part_bytes: About how large a part may become.
        stop: Ends waits for the store early, with ``Stopped``.

    Returns:
        None where the version has a base already.

    Raises:
        Corrupt: A file on the way is wrong, or a wrong base stands in the way; nothing was written but orphans.
        Invalid: There is no such version, or its base would be too large to be read.
        Unavailable: The store does not answer.
    """
    persistence = Persistence(clock, RETRY_FOR_S, stop or threading.Event())
    with Lease(store, "compaction", clock) as lease:
        chain = persistence.tries(lambda: plan_held(store, model, version, lease), f"plan version {version}")
        if chain.base is not None and not chain.deltas:
            return None
        base = _Compaction(store, chain, lease, persistence, window_ms).run(part_bytes, clock.now_ms())
        persistence.tries(lambda: _create(store, model, base), f"commit the base of version {version}")
    return Compacted(base, len(chain.deltas), sum(file.bytes for link in chain.links for file in link.files))


def _create(store: ObjectStore, model: str, base: Base) -> None:
    data = base.to_json()
    if len(data) > MAX_BASE_BYTES:
        raise Invalid(
            f"the base's object would have {len(data)} bytes",
            wanted=f"at most {MAX_BASE_BYTES}",
            cure="give the model fewer tables",
            where=paths.base_key(base.version),
        )
    try:
        store.create(paths.base_key(base.version), data)
    except AlreadyExists:
        found = read_base(store, model, base.version)
        if found is not None and found.manifest.commit_uuid != base.manifest.commit_uuid:
            raise Corrupt(
                "the base is of another line of versions",
                wanted=f"commit {base.manifest.commit_uuid}",
                cure="delete the object: nobody uses it",
                where=paths.base_key(base.version),
            ) from None
        # Otherwise our own, or another compaction's with the same content.


class _Compaction:
    """One run: the deltas are folded first, then each part of the base before is merged with its share of them."""

    def __init__(
        self, store: ObjectStore, chain: Chain, lease: Lease, persistence: Persistence, window_ms: int | None
    ) -> None:
        self._store = store
        self._chain = chain
        self._lease = lease
        self._persistence = persistence
        self._window_ms = window_ms
        self._attempt = new_uuid()
        self._arrays = Arrays()
        self._precision: dict[str, Precision] = {}
        self._changes: dict[str, tuple[NDArray[np.uint64], NDArray[np.uint64], TableRows]] = {}

    def run(self, part_bytes: int, now_ms: int) -> Base:
        before = self._chain.base
        old_bits = 0 if before is None else before.hash_bits
        first = None if before is None else self._fetch(before.links()[0])
        if first is not None:
            self._note(first)
        fold = Fold()
        for delta in ahead(self._fetch, self._chain.deltas):
            self._lease.renew()
            self._note(delta)
            for rows in delta.tables:
                fold.add(rows)
        for rows in fold.result(keep_tombstones=True):
            self._changes[rows.table] = (mix64(rows.keys), mix64(rows.tombstones), rows)
        bits = _hash_bits(self._chain, old_bits, part_bytes, len(self._precision))
        each = 1 << (bits - old_bits)
        olds = (None,) if before is None else tuple(before.links())

        def compact_part(number: int) -> list[tuple[File, ...]]:
            link = olds[number]
            old = first if number == 0 else None if link is None else self._fetch(link)
            return [self._part(old, part, bits) for part in range(number * each, (number + 1) * each)]

        parts: list[tuple[File, ...]] = []
        for made in ahead(compact_part, range(len(olds)), keep=PARTS_AT_ONCE):
            self._lease.renew()
            parts += made
        try:
            return Base(
                attempt=self._attempt,
                hash_bits=bits,
                parts=tuple(parts),
                graph=self._arrays.graph,
                created_ts=now_ms,
                manifest=self._chain.manifest,
            )
        except ValidationError as error:
            raise Bug(f"version {self._chain.manifest.version} makes no base: {error}") from error

    def _fetch(self, link: Link) -> Delta:
        return self._persistence.tries(
            lambda: fetch(self._store, link, serving_only=False), f"read version {link.version}"
        )

    def _note(self, delta: Delta) -> None:
        self._arrays.apply(delta)
        self._precision |= delta.precision

    def _part(self, old: Delta | None, part: int, bits: int) -> tuple[File, ...]:
        tables = []
        held = {rows.table: rows for rows in old.tables} if old is not None else {}
        for name in dict.fromkeys([*held, *self._changes]):
            rows = self._merged(held.get(name), name, part, bits)
            if rows is not None and (len(rows.keys) or part == 0):
                tables.append(rows)
        content = Content(tables=tables, precision=self._precision)
        if part == 0:
            arrays = self._arrays
            content = Content(
                tables=tables,
                precision=self._precision,
                dense=arrays.dense,
                dense_optimizer=arrays.dense_optimizer,
                statistics=arrays.statistics,
                filters=arrays.filters,
                sample_ids=joined_sample_ids(arrays.sample_ids, self._window_ms),
            )
        version = self._chain.manifest.version
        packs = pack(
            content,
            attempt=self._attempt,
            key=lambda name: paths.base_pack_key(version, self._attempt, part, name),
        )
        for packed in packs:
            key, data = packed.file.key, packed.data
            self._persistence.tries(lambda key=key, data=data: self._store.put(key, data), f"upload {key}")  # type: ignore[misc]
        return tuple(packed.file for packed in packs)

    def _merged(self, old: TableRows | None, name: str, part: int, bits: int) -> TableRows | None:
        pieces = []
        if old is not None:
            pieces.append(_slice(old, mix64(old.keys), np.empty(0, np.uint64), part, bits))
        if name in self._changes:
            hashes, gone, rows = self._changes[name]
            pieces.append(_slice(rows, hashes, gone, part, bits))
        if not pieces:
            return None
        return without_tombstones(merge(*pieces) if len(pieces) == 2 else pieces[0])


def _hash_bits(chain: Chain, old_bits: int, part_bytes: int, tables: int) -> int:
    """As many parts as keep each below ``part_bytes``, and no fewer than before: a part is split, never joined.

    Where a base that lists so many would be larger than a reader takes, parts become larger instead.
    """
    size = 0 if chain.base is None else chain.base.size
    size += sum(file.bytes for link in chain.deltas for file in link.files)
    wanted = max(0, (-(-size // part_bytes) - 1).bit_length())
    most = (MAX_BASE_BYTES // (LISTED_PART_BYTES + 2 * tables * LISTED_RANGE_BYTES)).bit_length() - 1
    return max(old_bits, min(wanted, most, MAX_HASH_BITS))


def _slice(rows: TableRows, hashes: NDArray[np.uint64], gone: NDArray[np.uint64], part: int, bits: int) -> TableRows:
    """The rows and tombstones whose hash has ``part`` in its highest ``bits`` bits; views, no copies."""

    def bounds(ordered: NDArray[np.uint64]) -> slice:
        if bits == 0:
            return slice(None)
        width = 1 << (64 - bits)
        low = int(np.searchsorted(ordered, np.uint64(part * width)))
        last = part + 1 == 1 << bits
        return slice(low, None if last else int(np.searchsorted(ordered, np.uint64((part + 1) * width))))

    return rows.taken(bounds(hashes), bounds(gone))


def is_due(chain: Chain) -> bool:
    """Whether a new base would save more reading than its writing costs.

    Many small deltas cost a start-up their number, large ones their bytes: a base is due after 64 deltas that hold an
    eighth of the base's bytes, and after 1,024 in any case.
    """
    deltas = len(chain.deltas)
    size = sum(file.bytes for link in chain.deltas for file in link.files)
    return deltas >= FEW_DELTAS and (size * 8 >= (chain.base.size if chain.base else 0) or deltas >= MANY_DELTAS)
