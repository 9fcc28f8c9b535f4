"""A store as somebody sees it who may not write to it, and so can hold no lease; knows no format."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from infra.errors import Invalid
from infra.object_store import ObjectStore
from infra.object_store.contract import Data


class ReadOnlyStore:
    """Passes reads on, and refuses everything else as a store does that checks rights."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner

    def put(self, key: str, data: Data) -> None:
        raise Invalid(f"put {key}, {len(data)} bytes: access denied")

    def create(self, key: str, data: Data) -> None:
        raise Invalid(f"create {key}, {len(data)} bytes: access denied")

    def delete(self, key: str) -> None:
        raise Invalid(f"delete {key}: access denied")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
