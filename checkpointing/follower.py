"""Follows the line of versions by number and hands out switches; must not know how a replica holds its rows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from checkpointing.content import Array, Delta, ServingContent
from checkpointing.download import fetch, fetch_graph
from checkpointing.history import ahead, chain, check_succession, manifests, newest_version, read_manifest
from checkpointing.manifest import Graph, Manifest
from checkpointing.merge import Fold
from infra.clock import Clock
from infra.errors import Corrupt, Invalid
from infra.object_store import ObjectStore

# A wrong file is tried again this often; a wrong manifest at every poll, which costs what a poll costs.
RETRY_AFTER_S: Final = 1.0
# Manifests read in one poll at most, so that a replica far behind switches on its way.
MOST_STEPS: Final = 256


@dataclass(frozen=True)
class Update:
    """What one poll found.

    Attributes:
        manifests: Every manifest read since the last update, in order, claims and heartbeats too: they carry freshness.
            After a start, those from the first switch's on.
        switch: Apply this and publish it; None where no newer servable version can be had.
        problem: What keeps the follower on its version, once per change; None where there is no news of that kind.
    """

    manifests: tuple[Manifest, ...] = ()
    switch: ServingContent | None = None
    problem: Corrupt | Invalid | None = None


@dataclass
class _Arrays:
    """The newest arrays and graph on the way to a version; a switch hands them all out, changed or not."""

    dense: dict[str, Array]
    statistics: dict[str, Array]
    graph: Graph | None
    graph_bytes: bytes | None


class _Broken(Exception):
    """The files of ``version`` are wrong."""

    def __init__(self, version: int, problem: Corrupt | Invalid) -> None:
        super().__init__(str(problem))
        self.version = version
        self.problem = problem


class Follower:
    """The reading side of a replica; for one thread.

    The first poll that finds versions folds up to the newest servable one and hands out a full switch. Each later poll
    gets manifest N + 1 by its number until there is none, and hands out one switch to the newest servable version among
    them. Where a manifest or file is wrong, the follower stays where it is, or goes as far as good files reach, reports
    the problem once, and tries again: it heals by itself when the object does, or when the line reverts past it.
    """

    def __init__(self, store: ObjectStore, model: str, clock: Clock) -> None:
        self._store = store
        self._model = model
        self._clock = clock
        self._looked = False
        self._seen: Manifest | None = None
        self._version = 0
        # What can change a replica since its version; while there is none, since the beginning.
        self._ahead: list[Manifest] = []
        self._unreported: list[Manifest] = []
        self._arrays = _Arrays({}, {}, None, None)
        self._problem: Corrupt | Invalid | None = None
        self._not_before = 0.0

    @property
    def version(self) -> int:
        """The servable version last handed out; 0 before the first."""
        return self._version

    @property
    def seen(self) -> int:
        """The newest version whose manifest was read; 0 before the first."""
        return self._seen.version if self._seen else 0

    @property
    def problem(self) -> Corrupt | Invalid | None:
        """What keeps the follower on its version now; None where nothing does."""
        return self._problem

    def poll(self) -> Update:
        """Looks once for newer versions.

        Raises:
            Unavailable: The store does not answer; nothing is lost, poll again.
        """
        known = self._problem
        problem: Corrupt | Invalid | None = None
        due = self._clock.monotonic() >= self._not_before
        read = len(self._unreported)
        switch = None
        try:
            if self._looked:
                self._step()
            elif due:
                self._start()
        except (Corrupt, Invalid) as error:
            problem = error
        if due or len(self._unreported) > read:
            switch, broken = self._switch()
            problem = problem or broken
            if problem is not None:
                self._not_before = self._clock.monotonic() + RETRY_AFTER_S
        else:
            problem = problem or known  # what was wrong is not due for another look
        self._problem = problem
        reported = tuple(self._unreported)
        self._unreported.clear()
        news = problem if problem is not None and str(problem) != str(known) else None
        return Update(reported, switch, news)

    def _start(self) -> None:
        """Reads the whole line; this is the only list."""
        newest = newest_version(self._store)
        if newest is not None:
            line = list(manifests(self._store, self._model, 1, newest))
            self._seen = line[-1]
            self._ahead = [manifest for manifest in line if manifest.changes]
            first = max((m.version for m in self._ahead if m.gate.servable), default=newest)
            self._unreported = line[first - 1 :]
        self._looked = True

    def _step(self) -> None:
        """Reads manifests by number, up to the newest."""
        for _ in range(MOST_STEPS):
            manifest = read_manifest(self._store, self._model, self.seen + 1)
            if manifest is None:
                return
            if self._seen is not None:
                check_succession(self._seen, manifest)
            self._seen = manifest
            self._unreported.append(manifest)
            if manifest.changes:
                self._ahead.append(manifest)

    def _switch(self) -> tuple[ServingContent | None, Corrupt | Invalid | None]:
        """The switch to the newest servable version whose files are good, and what was wrong with newer ones."""
        problem: Corrupt | Invalid | None = None
        broken: set[int] = set()
        for target in reversed([manifest for manifest in self._ahead if manifest.gate.servable]):
            try:
                links, full = self._way_to(target)
                if broken.intersection(link.version for link in links):
                    continue
                switch = self._load(target, links, full)
            except _Broken as error:
                broken.add(error.version)
                problem = problem or error.problem
                continue
            self._version = target.version
            self._ahead = [manifest for manifest in self._ahead if manifest.version > target.version]
            return switch, problem
        return None, problem

    def _way_to(self, target: Manifest) -> tuple[list[Manifest], bool]:
        """The manifests to apply, and whether they begin from nothing."""
        links = [manifest for manifest in self._ahead if manifest.version <= target.version]
        if all(link.kind == "delta" for link in links):
            return links, self._version == 0
        try:
            return chain(self._store, self._model, target.version, {link.version: link for link in links}), True
        except (Corrupt, Invalid) as error:
            raise _Broken(target.version, error) from error

    def _load(self, target: Manifest, links: list[Manifest], full: bool) -> ServingContent:
        fold = Fold()
        arrays = _Arrays({}, {}, None, None) if full else _Arrays(**vars(self._arrays))
        graph_of = target
        for delta in ahead(self._fetch, links):
            try:
                for rows in delta.tables:
                    fold.add(rows)
            except Corrupt as error:
                raise _Broken(delta.manifest.version, error) from error
            arrays.dense = delta.dense or arrays.dense
            arrays.statistics = delta.statistics or arrays.statistics
            if delta.manifest.graph is not None:
                arrays.graph = delta.manifest.graph
                graph_of = delta.manifest
        try:
            self._fetch_graph(arrays)
        except Corrupt as error:
            raise _Broken(graph_of.version, error) from error
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

    def _fetch(self, link: Manifest) -> Delta:
        try:
            return fetch(self._store, link, serving_only=True)
        except (Corrupt, Invalid) as error:
            raise _Broken(link.version, error) from error

    def _fetch_graph(self, arrays: _Arrays) -> None:
        held = self._arrays
        if arrays.graph is None:
            arrays.graph_bytes = None
        elif held.graph is not None and held.graph.sha256 == arrays.graph.sha256:
            arrays.graph_bytes = held.graph_bytes
        else:
            arrays.graph_bytes = fetch_graph(self._store, arrays.graph)
