"""Makes a bucket, and proves that a store refuses to overwrite; must never commit a version."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from infra.clock import new_uuid
from infra.errors import Invalid, SpringtideError, Unavailable
from infra.object_store.contract import AlreadyExists, NotFound, ObjectStore

TIMEOUT: Final = urllib3.Timeout(connect=2, read=10)
# SeaweedFS lets contenders for one key wait a second each: few of them prove as much.
RACERS: Final = 3
PROOF_FOLDER: Final = "springtide-proof"


def provision_bucket(endpoint: str, access_key: str, secret_key: str, bucket: str, region: str = "us-east-1") -> bool:
    """Makes sure that ``bucket`` exists at the S3 server ``endpoint``; returns whether it was made now.

    Uses the minio client, whose ``put_object`` ignores conditions silently: it is for buckets only.

    Raises:
        Unavailable: The server does not answer, or not properly yet.
        Invalid: The keys or the bucket's name are refused.
    """
    address = urlsplit(endpoint)
    pool = urllib3.PoolManager(timeout=TIMEOUT, retries=False)
    try:
        client = Minio(
            address.netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=address.scheme == "https",
            region=region,
            http_client=pool,
        )
        if client.bucket_exists(bucket):
            return False
        client.make_bucket(bucket, location=region)
    except S3Error as error:
        if error.code == "BucketAlreadyOwnedByYou":
            return False
        raise _refused(error, endpoint, bucket) from None
    except ValueError as error:
        raise Invalid(f"bucket `{bucket}`: {error}", cure="correct the bucket's name or the endpoint") from None
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        reason = type(error).__name__
        raise Unavailable(
            f"object store does not answer ({reason})", cure="start it, or correct the endpoint", where=endpoint
        ) from None
    finally:
        pool.clear()
    return True


def _refused(error: S3Error, endpoint: str, bucket: str) -> Invalid | Unavailable:
    what = f"bucket `{bucket}` cannot be made: {error.code}"
    if error.response.status >= 500:
        return Unavailable(what, cure="wait until the store is up", where=endpoint)
    return Invalid(what, cure="check the keys and that they may create buckets", where=endpoint)


def prove_conditional_writes(store: ObjectStore) -> None:
    """Proves that a taken key is never overwritten, one after another and in a race; leaves nothing behind.

    Raises:
        Invalid: The store overwrites or loses; commits to it would be unsafe.
    """
    key = f"{PROOF_FOLDER}/{new_uuid()}"
    raced = f"{PROOF_FOLDER}/{new_uuid()}"
    try:
        store.create(key, b"first")
        if _created(store, key, b"second") or _read(store, key) != b"first":
            raise _unsafe(store, "the second conditional create overwrote the object")
        contents = [f"racer {number}".encode() for number in range(RACERS)]
        with ThreadPoolExecutor(RACERS) as racers:
            winners = [
                content
                for content, won in zip(
                    contents, racers.map(lambda content: _created(store, raced, content), contents), strict=True
                )
                if won
            ]
        if len(winners) != 1 or _read(store, raced) != winners[0]:
            raise _unsafe(store, f"{len(winners)} of {RACERS} racing conditional creates succeeded")
        if sorted([key, raced]) != [name for name in store.list(PROOF_FOLDER) if name in {key, raced}]:
            raise _unsafe(store, "a list does not show objects just written")
    except SpringtideError:
        with contextlib.suppress(SpringtideError):
            _clean(store, key, raced)
        raise
    _clean(store, key, raced)


def _clean(store: ObjectStore, *keys: str) -> None:
    for key in keys:
        store.delete(key)


def _read(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.get(key)
    except NotFound:
        return None


def _created(store: ObjectStore, key: str, content: bytes) -> bool:
    try:
        store.create(key, content)
    except AlreadyExists:
        return False
    return True


def _unsafe(store: ObjectStore, what: str) -> Invalid:
    return Invalid(
        f"object store: {what}; commits would be unsafe",
        cure="use a store with conditional writes (If-None-Match)",
        where=store.url,
    )
