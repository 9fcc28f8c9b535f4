"""Folds a chain of versions into a learner's state; must not know tables in C++ or how training goes on."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from checkpointing.chain import Chain
from checkpointing.content import Array, Delta, LearnerState
from checkpointing.download import fetch
from checkpointing.history import ahead, newest_version
from checkpointing.lease import Lease, plan_held
from checkpointing.link import Link
from checkpointing.manifest import Graph
from checkpointing.merge import Fold
from infra.clock import Clock, SystemClock
from infra.errors import Corrupt, Invalid
from infra.logs import logger
from infra.object_store import ObjectStore

_log = logger()


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


class _WrongBase(Exception):
    """A file of the base is missing or wrong; what it replaced may be there still."""

    def __init__(self, problem: Corrupt) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class _Parts:
    """Fetches the links of a chain, and tells a wrong base from a wrong delta."""

    store: ObjectStore
    chain: Chain

    def fetch(self, link: Link) -> Delta:
        try:
            return fetch(self.store, link, serving_only=False)
        except Corrupt as error:
            if self.chain.base is not None and link.version == self.chain.base.version:
                raise _WrongBase(error) from error
            raise


def restore(
    store: ObjectStore,
    model: str,
    version: int | None = None,
    *,
    on_start: Callable[[], None] | None = None,
    on_delta: Callable[[Delta], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    clock: Clock | None = None,
) -> LearnerState:
    """The fold of ``version``, servable or not (None: of the newest one).

    Args:
        store: The model's own prefix.
        model: The model's name.
        version: Which version; after a take-over, ``writer.version``.
        on_start: Called before the first delta, and again where a base proves wrong and what it replaced is read
            instead: forget what ``on_delta`` was given.
        on_delta: Gets the parts of the base and each later version's content, oldest first, instead of a fold in
            memory: later rows replace earlier ones, tombstones delete, sample ids accumulate. Then the result's
            tables and sample_ids are empty. Begin with nothing: a base has no tombstones.
        progress: Called with (files' owners done, in all).
        clock: Tells when to renew the lease; the machine's own if None.

    Raises:
        Invalid: There is no such version, or it belongs to another model or a newer format.
        Corrupt: A manifest or a file on the way is wrong, and no other base leads around it.
        Unavailable: The store does not answer.
    """
    target = newest_version(store) if version is None else version
    if target is None:
        raise Invalid("the store holds no version", cure="start a learner first", where=store.url)
    without: set[int] = set()
    wrong: Corrupt | None = None
    with Lease(store, "restore", clock or SystemClock()) as lease:
        while True:
            try:
                chain = plan_held(store, model, target, lease, without=without)
            except (Corrupt, Invalid) as error:
                raise wrong or error from None
            fold, arrays, parts = Fold(), Arrays(), _Parts(store, chain)
            if on_start is not None:
                on_start()
            try:
                for done, delta in enumerate(ahead(parts.fetch, chain.links), start=1):
                    lease.renew()
                    arrays.apply(delta)
                    if on_delta is not None:
                        on_delta(delta)
                        arrays.sample_ids.clear()
                    else:
                        for rows in delta.tables:
                            fold.add(rows)
                    if progress is not None:
                        progress(done, len(chain.links))
                break
            except _WrongBase as error:
                assert chain.base is not None
                _log.error("base_passed_over", version=chain.base.version, error=error.problem)
                wrong = wrong or error.problem
                without.add(chain.base.version)
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
