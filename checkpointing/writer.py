"""The one writer of a model's line of versions: claims it, then commits content; must not know how rows are trained."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self

from checkpointing import paths
from checkpointing.boundary import BoundaryLog
from checkpointing.claim import claim
from checkpointing.commit import Gone, Persistence, Taken, land
from checkpointing.content import Content
from checkpointing.history import ahead
from checkpointing.manifest import Graph, Manifest
from checkpointing.pending import Pending
from infra.clock import Clock, new_uuid
from infra.errors import Bug, Fenced, Invalid
from infra.object_store import ObjectStore

QUIET_S: Final = 30.0
RETRY_FOR_S: Final = 10.0


class Writer:
    """Commits versions, one at a time, each at most once, until another writer takes over.

    A commit whose outcome the store does not tell raises ``Unavailable`` and **stays pending**: its bytes are kept
    here, and land before anything else. Call :meth:`commit` again with the same content until it returns; the same
    bytes are sent, and nothing is committed twice. Do not put its rows, batches or metrics back into another content:
    they would be counted twice if the first try had landed after all.

    After ``Fenced``, every call raises it again: stop, and write nothing more.
    """

    def __init__(
        self,
        store: ObjectStore,
        claimed: Manifest,
        clock: Clock,
        *,
        retry_for_s: float = RETRY_FOR_S,
        boundaries: BoundaryLog | None = None,
    ) -> None:
        """Use :meth:`take_over`; ``claimed`` must be a claim that this process has committed."""
        self._store = store
        self._clock = clock
        # A stop does not end a commit early: the last one of a process is worth its few seconds.
        self._persistence = Persistence(clock, retry_for_s, threading.Event())
        self._boundaries = boundaries or BoundaryLog(store)
        self._claimed = claimed
        self._last = claimed
        self._pending: Pending | None = None
        # Bytes of graphs that no version of this writer names yet, by key, and the graph named last.
        self._graphs: dict[str, bytes] = {}
        self._graph: Graph | None = None
        self._fenced: Fenced | None = None
        self._busy = threading.Lock()

    @classmethod
    def take_over(
        cls,
        store: ObjectStore,
        model: str,
        identity: str,
        clock: Clock,
        takeover: bool = False,
        *,
        quiet_s: float = QUIET_S,
        retry_for_s: float = RETRY_FOR_S,
        stop: threading.Event | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> Self:
        """Claims the line of ``model``, by FORMAT.md 5.2. Restore from ``writer.version`` next.

        Args:
            store: The model's own prefix.
            model: The model's name.
            identity: Who this learner is across restarts, such as the name of its pod.
            clock: For pauses and timestamps.
            takeover: Whether to claim at once even from a writer with another identity.
            quiet_s: How long another identity must have been silent.
            retry_for_s: How long an unavailable store is tried, here and for each object of a commit.
            stop: Ends the waiting early, with ``Stopped``.
            on_wait: Told, in a sentence, when there is a wait for silence.

        Raises:
            Fenced: Another learner of this model is alive.
            Unavailable: The store does not answer.
            Corrupt: The newest manifest is wrong.
            Invalid: The store holds another model, or a newer format.
        """
        boundaries = BoundaryLog(store)
        claimed = claim(
            store,
            model,
            identity,
            Persistence(clock, retry_for_s, stop or threading.Event()),
            boundaries,
            takeover=takeover,
            quiet_s=quiet_s,
            on_wait=on_wait,
        )
        return cls(store, claimed, clock, retry_for_s=retry_for_s, boundaries=boundaries)

    @property
    def claimed(self) -> Manifest:
        """The claim that began this writer's epoch."""
        return self._claimed

    @property
    def last(self) -> Manifest:
        """The newest manifest that this writer knows to be committed."""
        return self._last

    @property
    def version(self) -> int:
        return self._last.version

    @property
    def epoch(self) -> int:
        return self._last.epoch

    @property
    def pending(self) -> Content | None:
        """The content whose outcome is unknown, if any. Of two it is the earlier: the later one was not taken."""
        return None if self._pending is None else self._pending.content

    def commit(self, content: Content) -> Manifest:
        """Uploads ``content`` and commits it as the next version; a pending one lands before it.

        Returns:
            The manifest of ``content``.

        Raises:
            Fenced: Another writer has taken over.
            Unavailable: The store did not answer in time. If :attr:`pending` is ``content``, it may land yet; if an
                earlier one, ``content`` was not taken. Call again with the same content in both cases.
            Invalid: The content cannot be written; nothing was.
            Bug: Another commit is in flight.
        """
        with self._alone():
            if self._pending is not None:
                repeated = self._pending.content is content
                self._finish(self._pending)
                if repeated:
                    return self._last
            graph = content.graph
            data = None if graph is None else self._graphs.get(graph.key)
            self._pending = Pending(content, self._last, data)
            return self._finish(self._pending)

    def retry(self) -> Manifest | None:
        """Lands the pending commit and returns its manifest, or None without one. Raises as :meth:`commit`."""
        with self._alone():
            return None if self._pending is None else self._finish(self._pending)

    def heartbeat(self) -> Manifest:
        """Commits a version that changes nothing and says that this learner lives. Raises as :meth:`commit`."""
        pending = self.pending
        if pending is not None:
            self.retry()  # it lands first, and what this version says must follow it
            if pending.kind == "heartbeat":
                return self._last
        last = self._last
        return self.commit(
            Content(
                kind="heartbeat",
                positions=last.positions,
                learned_through=last.learned_through,
                newest_known_ts=last.newest_known_ts,
                feature_spec_hash=last.feature_spec_hash,
                obeyed=last.obeyed,
            )
        )

    def put_graph(self, data: bytes, *, weights: Sequence[str], labels: Sequence[str]) -> Graph:
        """Takes a dense program and returns the reference for :class:`Content`; the commit that names it uploads it.

        Args:
            data: The serialised GraphDef.
            weights: Names of the dense arrays in the order of its placeholders.
            labels: Names of its outputs.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        # A key of its own: a copy that nobody names may be on its way out of the store.
        graph = Graph(
            key=paths.graph_key(sha256, self.version + 1, new_uuid()),
            bytes=len(data),
            sha256=sha256,
            weights=tuple(weights),
            labels=tuple(labels),
        )
        # While a commit is pending, the newest graph may be another one by the time that this reference is used.
        if (
            self._pending is None
            and self._graph is not None
            and self._graph.model_copy(update={"key": graph.key}) == graph
        ):
            return self._graph
        self._graphs[graph.key] = data
        return graph

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise Bug("two commits in flight", wanted="one at a time")
        try:
            if self._fenced is not None:
                raise self._fenced
            yield
        finally:
            self._busy.release()

    def _finish(self, pending: Pending) -> Manifest:
        for key in ahead(lambda key: self._upload(key, pending), list(pending.to_upload)):
            del pending.to_upload[key]
        if pending.manifest is None and pending.base_ref:
            self._refuse_collected(pending.base_ref)
        manifest = pending.seal(self._clock.now_ms())
        try:
            land(self._store, manifest, pending.data, self._persistence, self._boundaries)
        except Taken as taken:
            raise self._fence(
                f"version {taken.found.version} was committed by learner `{taken.found.learner}`,"
                f" epoch {taken.found.epoch}; this is `{self._last.learner}`, epoch {self._last.epoch}"
            ) from None
        except Gone:
            raise self._fence(
                f"version {manifest.version} was committed by another learner and collected since;"
                f" this is `{self._last.learner}`, epoch {self._last.epoch}"
            ) from None
        if manifest.graph is not None or manifest.kind == "revert":
            self._graph = manifest.graph
        if manifest.graph is not None:
            self._graphs.pop(manifest.graph.key, None)
        self._last = manifest
        self._pending = None
        return manifest

    def _refuse_collected(self, base_ref: int) -> None:
        """The mark of the revert is up: what is there now is there as long as the revert."""
        boundary = self._persistence.tries(self._boundaries.poll, "read the boundary")
        if not boundary.holds(base_ref, base_ref):
            self._pending = None
            raise Invalid(
                f"version {base_ref} was collected, and nothing can start from it",
                wanted=f"a version from {boundary.version} on, or one of the bases {list(boundary.kept)}",
                cure="revert to one of them",
                where=self._store.url,
            )

    def _fence(self, what: str) -> Fenced:
        self._pending = None
        self._fenced = Fenced(
            what,
            wanted="one learner per model",
            cure="stop one of them; this one writes nothing more",
            where=self._store.url,
        )
        return self._fenced

    def _upload(self, key: str, pending: Pending) -> str:
        # The key holds the attempt: whatever a repeated put replaces, it is these very bytes.
        self._persistence.tries(lambda: self._store.put(key, pending.to_upload[key]), f"upload {key}")
        return key
