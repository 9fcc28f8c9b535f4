"""What every object store must do for versions to be safe; knows no client library."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from typing import Protocol

from infra.errors import Bug

Data = bytes | bytearray | memoryview

# No escaping is needed for these in any store, URL or file system, and none of them means a parent folder.
_KEY = re.compile(r"[A-Za-z0-9_=.-]+(/[A-Za-z0-9_=.-]+)*")


class AlreadyExists(Exception):
    """The key of a put-if-absent is taken; it may be taken by the caller's own earlier try: read it back."""


class NotFound(KeyError):
    """No object has this key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a list.

    Attributes:
        key: Its key.
        size: Bytes.
        modified_ms: When it was last written, milliseconds, by the store's clock.
    """

    key: str
    size: int
    modified_ms: int


class ObjectStore(Protocol):
    """Objects by key below one root. Safe for use by many threads.

    Keys are relative to the root: segments of letters, digits, ``_ - . =`` between slashes. Every method may raise
    :class:`~infra.errors.Unavailable` (retry) or :class:`~infra.errors.Invalid` (wrong secret, no such bucket).
    """

    @property
    def url(self) -> str:
        """The root's address, fit for messages."""
        ...

    def put(self, key: str, data: Data) -> None:
        """Writes the object, replacing one of the same key."""
        ...

    def create(self, key: str, data: Data) -> None:
        """Writes the object if the key is free; of several racing callers exactly one succeeds.

        Raises:
            AlreadyExists: The key is taken. After a lost reply this may be the caller's own write.
        """
        ...

    def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            NotFound: No object has this key.
        """
        ...

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes ``[start, end)`` of the object.

        Raises:
            NotFound: No object has this key.
            Corrupt: The object ends before ``end``.
        """
        ...

    def head(self, key: str) -> int | None:
        """The object's size in bytes, or None where there is no object."""
        ...

    def list(self, prefix: str, after: str | None = None) -> list[str]:
        """All keys below the folder ``prefix`` (``""`` is the root), those greater than ``after`` only, ascending."""
        ...

    def entries(self, prefix: str) -> builtins.list[Entry]:
        """What :meth:`list` lists, with sizes and times, by key."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object; an absent one is no error."""
        ...

    def exists(self, key: str) -> bool:
        """Whether an object has this key."""
        ...


def checked_key(key: str) -> str:
    """``key`` itself, if every store can hold it as it is.

    Raises:
        Bug: The key would be escaped, or climb out of the root.
    """
    if not _KEY.fullmatch(key) or any(segment in {".", ".."} for segment in key.split("/")):
        raise Bug(f"object key {key!r}", wanted="segments of letters, digits and `_ - . =` between slashes")
    return key
