"""Folds a chain of versions into a learner's state; must not know tables in C++ or how training goes on."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

from checkpointing.content import Array, Delta, LearnerState
from checkpointing.download import fetch
from checkpointing.history import ahead, chain, newest_version
from checkpointing.manifest import Graph
from checkpointing.merge import Fold
from infra.errors import Invalid
from infra.object_store import ObjectStore


def restore(
    store: ObjectStore,
    model: str,
    version: int | None = None,
    *,
    on_delta: Callable[[Delta], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LearnerState:
    """The fold of ``version``, servable or not (None: of the newest one).

    Args:
        store: The model's own prefix.
        model: The model's name.
        version: Which version; after a take-over, ``writer.version``.
        on_delta: Gets each version's content, oldest first, instead of a fold in memory: later rows replace earlier
            ones, tombstones delete, sample ids accumulate. Then the result's tables and sample_ids are empty.
        progress: Called with (versions done, versions in all).

    Raises:
        Invalid: There is no such version, or it belongs to another model or a newer format.
        Corrupt: A manifest or a file on the way is wrong.
        Unavailable: The store does not answer.
    """
    target = newest_version(store) if version is None else version
    if target is None:
        raise Invalid("the store holds no version", cure="start a learner first", where=store.url)
    links = chain(store, model, target)
    fold = Fold()
    dense: dict[str, Array] = {}
    dense_optimizer: dict[str, Array] = {}
    statistics: dict[str, Array] = {}
    sample_ids: list[dict[str, Array]] = []
    graph: Graph | None = None
    for done, delta in enumerate(ahead(lambda link: fetch(store, link, serving_only=False), links), start=1):
        dense = delta.dense or dense
        dense_optimizer = delta.dense_optimizer or dense_optimizer
        statistics = delta.statistics or statistics
        graph = delta.manifest.graph or graph
        if on_delta is not None:
            on_delta(delta)
        else:
            for rows in delta.tables:
                fold.add(rows)
            if delta.sample_ids:
                sample_ids.append(delta.sample_ids)
        if progress is not None:
            progress(done, len(links))
    return LearnerState(
        manifest=links[-1],
        tables={rows.table: rows for rows in fold.result(keep_tombstones=False)},
        dense=dense,
        dense_optimizer=dense_optimizer,
        statistics=statistics,
        sample_ids=tuple(sample_ids),
        graph=graph,
    )
