"""Folds a chain of versions into a learner's state; must not know tables in C++ or how training goes on."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from checkpointing.content import Array, Delta, LearnerState
from checkpointing.download import fetch
from checkpointing.history import ahead, newest_version
from checkpointing.lease import held_chain
from checkpointing.manifest import Graph
from checkpointing.merge import Fold
from infra.clock import Clock, SystemClock
from infra.errors import Invalid
from infra.object_store import ObjectStore


@dataclass
class Arrays:
    """The arrays of a fold on its way: what each role's newest version left."""

    dense: dict[str, Array] = field(default_factory=dict)
    dense_optimizer: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)
    filters: dict[str, Array] = field(default_factory=dict)
    sample_ids: list[dict[str, Array]] = field(default_factory=list)
    graph: Graph | None = None

    def apply(self, delta: Delta) -> None:
        """Takes the next step of the fold, FORMAT.md 4."""
        self.dense = delta.dense or self.dense
        self.dense_optimizer = delta.dense_optimizer or self.dense_optimizer
        self.statistics = delta.statistics or self.statistics
        self.filters = {**self.filters, **delta.filters}
        self.graph = delta.source.graph or self.graph
        if delta.sample_ids:
            self.sample_ids.append(delta.sample_ids)


def restore(
    store: ObjectStore,
    model: str,
    version: int | None = None,
    *,
    on_delta: Callable[[Delta], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    clock: Clock | None = None,
) -> LearnerState:
    """The fold of ``version``, servable or not (None: of the newest one).

    Args:
        store: The model's own prefix.
        model: The model's name.
        version: Which version; after a take-over, ``writer.version``.
        on_delta: Gets the parts of the base and each later version's content, oldest first, instead of a fold in
            memory: later rows replace earlier ones, tombstones delete, sample ids accumulate. Then the result's
            tables and sample_ids are empty. Begin with nothing: a base has no tombstones.
        progress: Called with (files' owners done, in all).
        clock: Tells when to renew the lease; the machine's own if None.

    Raises:
        Invalid: There is no such version, or it belongs to another model or a newer format.
        Corrupt: A manifest or a file on the way is wrong.
        Unavailable: The store does not answer.
    """
    target = newest_version(store) if version is None else version
    if target is None:
        raise Invalid("the store holds no version", cure="start a learner first", where=store.url)
    fold, arrays = Fold(), Arrays()
    with held_chain(store, model, target, "restore", clock or SystemClock()) as (chain, lease):
        links = chain.links
        for done, delta in enumerate(ahead(lambda link: fetch(store, link, serving_only=False), links), start=1):
            lease.renew()
            arrays.apply(delta)
            if on_delta is not None:
                on_delta(delta)
                arrays.sample_ids.clear()
            else:
                for rows in delta.tables:
                    fold.add(rows)
            if progress is not None:
                progress(done, len(links))
    return LearnerState(
        manifest=chain.manifest,
        tables={rows.table: rows for rows in fold.result(keep_tombstones=False)},
        dense=arrays.dense,
        dense_optimizer=arrays.dense_optimizer,
        statistics=arrays.statistics,
        sample_ids=tuple(arrays.sample_ids),
        filters=arrays.filters,
        graph=arrays.graph,
    )
