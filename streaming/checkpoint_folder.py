"""Where the checkpoints of one plan lie, and which of them are there now; must not know jobs or SQL."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from infra.errors import Invalid
from infra.logs import logger
from infra.object_store import open_store
from infra.spec import Store

_log = logger()

# Below the folder of a plan: when the job was submitted, from when on it emits, Flink's job id and Flink's own names.
_METADATA: Final = re.compile(r"(\d+)-(\d+)/([0-9a-f]{32})/(?:chk-(\d+)|savepoint-[0-9a-f-]+)/_metadata")
_LISTED: Final = ("s3://", "file:/")


@dataclass(frozen=True, order=True)
class Kept:
    """A checkpoint that lies in the store, greater than those before it; a savepoint ends its job, so it is the last.

    Args:
        submitted_ms: When its job was submitted.
        number: Flink's number of the checkpoint.
        path: Where it is, as Flink wants it.
        cutover_ms: From when on its job emits, ms since 1970; 0 for everything.
    """

    submitted_ms: int
    number: float
    path: str
    cutover_ms: int


class CheckpointFolder:
    """The folder in which every job of one plan keeps its checkpoints.

    Flink forgets where they are when its JobManager is lost; their names tell it for ever.

    Args:
        root: Asked once for the cluster's or the pipeline's folder of checkpoints, such as
            ``s3://bucket/flink/checkpoints``; None where checkpoints are kept in the JobManager's memory.
        plan: What tells the plan from every other: model and hash, a path.
        store: The pipeline's store, whose endpoint and secrets are used for ``s3://``.
    """

    def __init__(self, root: Callable[[], str | None], plan: str, store: Store) -> None:
        self._ask = root
        self._plan = plan
        self._store = store

    @cached_property
    def _root(self) -> str | None:
        root = self._ask()
        return None if root is None else f"{root.rstrip('/')}/springtide/{self._plan}"

    def of_job(self, submitted_ms: int, cutover_ms: int) -> str | None:
        """The folder for the checkpoints of a new job; None where there is none."""
        return None if self._root is None else f"{self._root}/{submitted_ms}-{cutover_ms}"

    def kept(self) -> list[Kept] | None:
        """Every complete checkpoint that is there now, newest first; None where the folder cannot be listed.

        A store that does not answer is an error; one that refuses is not ours to list, and is logged.

        Raises:
            Unavailable: The store does not answer.
        """
        if self._root is None or not self._root.startswith(_LISTED):
            return None
        on_disk = "file:///" + self._root.removeprefix("file:").lstrip("/")
        url = self._root if self._root.startswith("s3://") else on_disk
        own = self._store if self._store.url.startswith("s3://") and url.startswith("s3://") else Store(url=url)
        try:
            keys = open_store(own.model_copy(update={"url": url})).list("")
        except Invalid as error:
            _log.warning("checkpoints_not_listed", folder=self._root, error=error)
            return None
        found = [match for key in keys if (match := _METADATA.fullmatch(key))]
        kept = [
            Kept(
                int(each[1]),
                float(each[4]) if each[4] is not None else float("inf"),
                f"{self._root}/{each[0].removesuffix('/_metadata')}",
                int(each[2]),
            )
            for each in found
        ]
        return sorted(kept, reverse=True)


def cutover_of(path: str) -> int:
    """From when on the job of a checkpoint emits; 0 where its path does not say."""
    match = _METADATA.search(f"{path.rstrip('/')}/_metadata")
    return int(match[2]) if match is not None else 0
