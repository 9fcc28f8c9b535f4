"""Fetches what a manifest names and believes none of it unchecked; must not know what the content is for."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib

from checkpointing.content import Delta
from checkpointing.link import Source
from checkpointing.manifest import Graph
from checkpointing.packfile import File
from checkpointing.unpack import unpack
from infra.errors import Corrupt
from infra.object_store import NotFound, ObjectStore


def fetch(store: ObjectStore, source: Source, *, serving_only: bool) -> Delta:
    """The content of one version's own files, or of one part of a base.

    With ``serving_only`` each file is read up to the prefix that a replica needs, and no further.

    Raises:
        Corrupt: A file is missing, or not what the manifest names.
        Invalid: A pack has a newer format.
        Unavailable: The store does not answer.
    """
    files = {
        file.key: _bytes(store, file, serving_only=serving_only)
        for file in source.files
        if not serving_only or file.serving is not None
    }
    return unpack(source, files, serving_only=serving_only)


def fetch_graph(store: ObjectStore, graph: Graph) -> bytes:
    """The dense program, checked against its hash.

    Raises:
        Corrupt: It is missing, or another one.
        Unavailable: The store does not answer.
    """
    try:
        data = store.get(graph.key)
    except NotFound:
        raise Corrupt("the graph is missing", wanted=f"{graph.bytes} bytes", where=graph.key) from None
    if hashlib.sha256(data).hexdigest() != graph.sha256 or len(data) != graph.bytes:
        raise Corrupt(f"the graph has another checksum ({len(data)} bytes)", wanted=graph.sha256, where=graph.key)
    return data


def _bytes(store: ObjectStore, file: File, *, serving_only: bool) -> bytes:
    try:
        if serving_only and file.serving is not None and file.serving.bytes < file.bytes:
            return store.get_range(file.key, 0, file.serving.bytes)
        return store.get(file.key)
    except NotFound:
        raise Corrupt("the file is missing", wanted=f"{file.bytes} bytes", where=file.key) from None
