"""Files become one switch of a replica; must not know which versions are due."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from checkpointing.content import Array, Delta, ServingContent
from checkpointing.download import fetch, fetch_graph
from checkpointing.history import ahead
from checkpointing.link import Source
from checkpointing.manifest import Graph, Manifest
from checkpointing.merge import Fold
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore


class Broken(Exception):
    """The files of ``version`` are wrong."""

    def __init__(self, version: int, problem: Corrupt | Invalid) -> None:
        super().__init__(str(problem))
        self.version = version
        self.problem = problem


@dataclass(frozen=True)
class _Arrays:
    """The newest arrays and graph on the way to a version; a switch hands them all out, changed or not."""

    dense: dict[str, Array]
    statistics: dict[str, Array]
    graph: Graph | None
    graph_bytes: bytes | None


_NOTHING = _Arrays({}, {}, None, None)


class Loader:
    """Makes switches, and remembers the arrays that later ones do not repeat; for one thread."""

    def __init__(self, store: ObjectStore) -> None:
        """Makes no request yet."""
        self._store = store
        self._arrays = _NOTHING

    def load(
        self,
        target: Manifest,
        links: Sequence[Source],
        *,
        full: bool,
        step: Callable[[], None] = lambda: None,
    ) -> ServingContent:
        """The switch that applies ``links`` and leads to ``target``.

        Args:
            target: Manifest of the version.
            links: What to apply, oldest first.
            full: Whether they begin from nothing; otherwise from the switch made before.
            step: Called after each link.

        Raises:
            Broken: A file or graph is missing or wrong; the next call goes on from where the last good one led.
            Unavailable: The store does not answer.
        """
        fold = Fold()
        arrays = _NOTHING if full else self._arrays
        graph_of = target.version
        for delta in ahead(self._fetch, links):
            step()
            try:
                for rows in delta.tables:
                    fold.add(rows)
            except Corrupt as error:
                raise Broken(delta.source.version, error) from error
            arrays = replace(
                arrays, dense=delta.dense or arrays.dense, statistics=delta.statistics or arrays.statistics
            )
            if delta.source.graph is not None:
                arrays = replace(arrays, graph=delta.source.graph)
                graph_of = delta.source.version
        try:
            arrays = self._with_graph(arrays)
        except Corrupt as error:
            raise Broken(graph_of, error) from error
        self._arrays = arrays
        return ServingContent(
            target,
            full,
            fold.result(keep_tombstones=not full),
            arrays.dense,
            arrays.statistics,
            arrays.graph,
            arrays.graph_bytes,
        )

    def _fetch(self, link: Source) -> Delta:
        try:
            return fetch(self._store, link, serving_only=True)
        except (Corrupt, Invalid) as error:
            raise Broken(link.version, error) from error

    def _with_graph(self, arrays: _Arrays) -> _Arrays:
        held = self._arrays
        if arrays.graph is None:
            return replace(arrays, graph_bytes=None)
        if held.graph is not None and held.graph.sha256 == arrays.graph.sha256:
            return replace(arrays, graph_bytes=held.graph_bytes)
        return replace(arrays, graph_bytes=fetch_graph(self._store, arrays.graph))
