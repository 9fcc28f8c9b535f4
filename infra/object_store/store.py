"""Objects on S3, on disk or in memory, by obstore; knows bytes and keys, not what they mean."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import builtins
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, MemoryStore, S3Store

from infra.errors import Corrupt, Invalid
from infra.object_store.contract import AlreadyExists, Data, Entry, NotFound, checked_key
from infra.object_store.failures import translated
from infra.secrets import read_secret
from infra.spec import Store

# A dead store is told within seconds; a stalled one within CALL. The caller's own backoff does the rest.
CONNECT: Final = timedelta(seconds=2)
CALL: Final = timedelta(seconds=30)
RETRIES: Final[dict[str, Any]] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {
        "init_backoff": timedelta(milliseconds=50),
        "max_backoff": timedelta(seconds=1),
        "base": 2,
    },
}

# On a disk a key may be a folder's name, or go through a file as if it were a folder.
NO_FILE: Final = ("os error 20)", "os error 21)")

Answer = TypeVar("Answer")

_memories: dict[str, MemoryStore] = {}
_memories_lock = threading.Lock()


class ObstoreStore:
    """The :class:`~infra.object_store.contract.ObjectStore` over one obstore client."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    def put(self, key: str, data: Data) -> None:
        self._call(
            f"put {key}",
            lambda: obstore.put(self._client, checked_key(key), data, use_multipart=False),
            absent=(),
        )

    def create(self, key: str, data: Data) -> None:
        try:
            self._call(
                f"create {key}",
                lambda: obstore.put(self._client, checked_key(key), data, mode="create", use_multipart=False),
                absent=(),
            )
        except (AlreadyExistsError, PreconditionError):
            raise AlreadyExists(key) from None

    def get(self, key: str) -> bytes:
        return self._call(f"get {key}", lambda: bytes(obstore.get(self._client, checked_key(key)).bytes().to_bytes()))

    def get_range(self, key: str, start: int, end: int) -> bytes:
        if not 0 <= start <= end:
            raise ValueError(f"range [{start}, {end}) of {key}")
        if start == end:
            return b""
        try:
            data = self._call(f"get {key}", lambda: self._range(checked_key(key), start, end))
        except Invalid:
            # Stores refuse a range that begins behind the end; other refusals keep their own message.
            size = self.head(key)
            if size is None or size > start:
                raise
            data = b""
        if len(data) != end - start:
            what = f"object {key} ends at byte {self.head(key)}"
            raise Corrupt(what, wanted=f"bytes [{start}, {end})", where=self._url)
        return data

    def head(self, key: str) -> int | None:
        try:
            return int(self._call(f"head {key}", lambda: obstore.head(self._client, checked_key(key)))["size"])
        except NotFound:
            return None

    def list(self, prefix: str, after: str | None = None) -> builtins.list[str]:
        keys = sorted(str(meta["path"]) for meta in self._metas(prefix, after))
        return keys if after is None else [key for key in keys if key > after]

    def entries(self, prefix: str) -> builtins.list[Entry]:
        found = (
            Entry(str(meta["path"]), int(meta["size"]), round(meta["last_modified"].timestamp() * 1000))
            for meta in self._metas(prefix, None)
        )
        return sorted(found, key=lambda entry: entry.key)

    def _metas(self, prefix: str, after: str | None) -> builtins.list[dict[str, Any]]:
        folder = prefix.strip("/")
        offset = _safe_offset(folder, after)
        try:
            pages = self._call(
                f"list {folder}/", lambda: builtins.list(obstore.list(self._client, folder or None, offset=offset))
            )
        except NotFound:
            return []  # on a disk: the folder's name goes through a file
        return [entry for page in pages for entry in page]

    def delete(self, key: str) -> None:
        try:
            self._call(f"delete {key}", lambda: obstore.delete(self._client, checked_key(key)))
        except NotFound:
            return

    def exists(self, key: str) -> bool:
        return self.head(key) is not None

    def _range(self, key: str, start: int, end: int) -> bytes:
        try:
            return bytes(obstore.get_range(self._client, key, start=start, end=end).to_bytes())
        except BaseError as error:
            if "StartTooLarge" in str(error):
                return b""
            raise

    def _call(self, doing: str, request: Callable[[], Answer], *, absent: tuple[str, ...] = NO_FILE) -> Answer:
        try:
            return request()
        except (AlreadyExistsError, PreconditionError):
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise translated(error, self._url, doing) from None
            raise NotFound(doing.partition(" ")[2]) from None
        except (BaseError, OSError) as error:
            if any(sign in str(error) for sign in absent):
                raise NotFound(doing.partition(" ")[2]) from None
            raise translated(error, self._url, doing) from None


def _safe_offset(folder: str, after: str | None) -> str | None:
    """Where the server may begin its list so that nothing greater than ``after`` is left out.

    Servers that keep folders (SeaweedFS) walk `a/0` before `a-1`, while keys sort the other way, and leave a folder out
    whose own name they are given. So the offset ends before the first `-` or `.`, where both orders agree, and is a
    name just below it that no key can have; the few keys too many are left out here.
    """
    root = f"{folder}/" if folder else ""
    if after is None or not after.startswith(root):
        return None
    safe = re.split("[-.]", after[len(root) :], maxsplit=1)[0].rstrip("/")
    if not safe:
        return None
    # Below `0` comes the slash, which would be another folder; the dot before it is as good.
    below = "." if safe[-1] == "0" else chr(ord(safe[-1]) - 1)
    return f"{root}{safe[:-1]}{below}~"


def open_store(store: Store) -> ObstoreStore:
    """The object store that the pipeline names; makes no request yet.

    ``s3://bucket/prefix`` takes its credentials from the two secrets, or without them from the environment (AWS
    variables, web identity, instance role). ``file:///folder`` is made if absent. ``memory://name`` is one store per
    name and process.

    Raises:
        Invalid: A secret is not there, or the URL is none of the three.
    """
    scheme, _, rest = store.url.partition("://")
    if scheme == "s3":
        return ObstoreStore(_s3(store, *rest.partition("/")[::2]), store.url)
    if scheme == "file":
        return ObstoreStore(_local(Path("/" + rest.strip("/")), store.url), store.url)
    if scheme == "memory":
        with _memories_lock:
            return ObstoreStore(_memories.setdefault(rest, MemoryStore()), store.url)
    raise Invalid(f"store.url {store.url!r}", wanted="s3://bucket/prefix, file:///folder or memory://name")


def _local(folder: Path, url: str) -> LocalStore:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return LocalStore(prefix=folder)
    except (OSError, BaseError) as error:
        raise Invalid(f"object store: cannot use the folder: {error}", cure="correct `store.url`", where=url) from None


def _s3(store: Store, bucket: str, prefix: str) -> S3Store:
    options: dict[str, Any] = {"region": store.region, "virtual_hosted_style_request": not store.path_style}
    if store.endpoint is not None:
        options["endpoint"] = store.endpoint.rstrip("/")
    if store.access_key is not None and store.secret_key is not None:
        options["access_key_id"] = read_secret(store.access_key)
        options["secret_access_key"] = read_secret(store.secret_key)
    try:
        return S3Store(
            bucket,
            prefix=prefix.strip("/") or None,
            client_options={
                "allow_http": (store.endpoint or "").startswith("http://"),
                "connect_timeout": CONNECT,
                "timeout": CALL,
            },
            retry_config=RETRIES,
            **options,
        )
    except BaseError as error:
        reason = str(error).partition("\n")[0]
        raise Invalid(f"object store: {reason}", cure="check `store`", where=store.url) from None
