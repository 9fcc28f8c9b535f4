"""Judges a stored GraphDef before anything runs it; knows no weights.

Only operations that compute on their inputs are let in (`checkpointing/dense_operations.py`).
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from checkpointing.dense_operations import ALLOWED
from infra.errors import Corrupt
from serving.refusals import shown
from serving.tensorflow_runtime import tf

INPUT = "input"
WEIGHT = "weight_"
OUTPUT = "prediction"
LARGEST_GRAPH = 256 << 20

# Strings, handles and variants have no place in arithmetic, and decoding them runs more code than numbers do.
NUMERIC = frozenset(
    tf.as_dtype(name).as_datatype_enum
    for name in ("bool", "int8", "uint8", "int16", "int32", "int64", "bfloat16", "float16", "float32", "float64")
)


def read_graph(content: bytes, sha256: str) -> Any:
    """The GraphDef in ``content``, proven to be the stored one and to hold arithmetic only.

    Args:
        content: A serialised GraphDef.
        sha256: Its hash, 64 hexadecimal digits, as the manifest names it.

    Raises:
        Corrupt: The bytes differ from the hash, are no GraphDef, or hold an operation that is not allowed.
    """
    where = f"graphs/{sha256}"
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise Corrupt(f"the graph has the hash {got}", wanted=sha256, where=where)
    if len(content) > LARGEST_GRAPH:
        raise Corrupt(f"the graph has {len(content)} bytes", wanted=f"at most {LARGEST_GRAPH}", where=where)
    try:
        graph = tf.compat.v1.GraphDef.FromString(content)
    except DecodeError as error:
        raise Corrupt(f"the graph is no GraphDef: {error}", where=where) from error
    functions = {function.signature.name for function in graph.library.function}
    hidden = ALLOWED & functions
    if hidden:
        raise Corrupt(f"the graph redefines the operation {min(hidden)}", where=where)
    _check_nodes(graph.node, functions, where)
    for function in graph.library.function:
        _check_nodes(function.node_def, functions, where)
    return graph


def weight_names(graph: Any, where: str) -> list[str]:
    """Names of the weights' placeholders in order.

    Raises:
        Corrupt: The placeholders are not `input` and `weight_0`, `weight_1`, …, or the output is missing.
    """
    placeholders = {node.name for node in graph.node if node.op == "Placeholder"}
    weights = [f"{WEIGHT}{index}" for index in range(len(placeholders) - 1)]
    if placeholders != {INPUT, *weights}:
        raise Corrupt(
            f"the graph has the placeholders {shown(sorted(placeholders))}", wanted="input, weight_0, …", where=where
        )
    if not any(node.name == OUTPUT for node in graph.node):
        raise Corrupt(f"the graph has no output `{OUTPUT}`", where=where)
    return weights


def _check_nodes(nodes: Iterable[Any], functions: set[str], where: str) -> None:
    for node in nodes:
        if node.op not in ALLOWED and node.op not in functions:
            raise Corrupt(
                f"the graph holds the operation {shown(node.op)} (node {shown(node.name)})",
                wanted="arithmetic only",
                cure="find out who wrote this graph; replicas keep the version before it",
                where=where,
            )
        for name, attribute in node.attr.items():
            if attribute.func.name and attribute.func.name not in functions:
                raise Corrupt(
                    f"node {shown(node.name)} calls {shown(attribute.func.name)}, which is absent", where=where
                )
            types = [attribute.type, *attribute.list.type, attribute.tensor.dtype]
            if any(kind and kind not in NUMERIC for kind in types):
                raise Corrupt(f"attribute {shown(name)} of node {shown(node.name)} is not numeric", where=where)
