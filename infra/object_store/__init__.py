"""The only door to object storage: versions are kept behind it; knows bytes and keys, not what they mean.

``open_store(spec.Store) -> ObjectStore``; ``put(key, data)``, ``create(key, data)`` (put-if-absent, AlreadyExists),
``get(key) -> bytes``, ``get_range(key, start, end) -> bytes``, ``head(key) -> int | None``,
``list(prefix, after=None) -> list[str]``, ``delete(key)``, ``exists(key) -> bool``; an absent key is NotFound.
``provision_bucket(endpoint, access_key, secret_key, bucket, region) -> bool``; ``prove_conditional_writes(store)``.
"""

# SPDX-License-Identifier: Apache-2.0
from infra.object_store.contract import AlreadyExists, Entry, NotFound, ObjectStore
from infra.object_store.provision import prove_conditional_writes, provision_bucket
from infra.object_store.store import open_store

__all__ = [
    "AlreadyExists",
    "Entry",
    "NotFound",
    "ObjectStore",
    "open_store",
    "prove_conditional_writes",
    "provision_bucket",
]
