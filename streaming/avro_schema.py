"""What an Avro schema says of an attribute; must not know where schemas come from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from infra.errors import Invalid
from streaming.attribute_types import IN_MS, IN_US, Absent

_PRIMITIVE: Final[Mapping[str, str]] = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "string": "string",
    "enum": "string",
    "bytes": "bytes",
    "fixed": "bytes",
}
_LOGICAL: Final[Mapping[str, str]] = {"timestamp-millis": IN_MS, "timestamp-micros": IN_US, "decimal": "number"}
_COMPLEX: Final = {"record", "enum", "fixed", "array", "map", "error"}


class AvroSchema:
    """A schema whose attributes can be asked for by their paths.

    Args:
        text: The schema as JSON, a record.
        references: The schemas that it names, each before those that name it.

    Raises:
        Invalid: It is no Avro schema of a record.
    """

    def __init__(self, text: str, references: Iterable[str] = ()) -> None:
        self._named: dict[str, Any] = {}
        try:
            for each in references:
                self._learn(json.loads(each), "")
            self._root = self._learn(json.loads(text), "")
            if not isinstance(self._root, dict) or self._root["type"] != "record":
                raise ValueError("a record was wanted")
        except (ValueError, KeyError, TypeError) as error:
            raise Invalid(f"not an Avro schema of a record: {error}", cure="register one") from None

    def shapes(self, path: str) -> frozenset[str]:
        """What the attribute at ``path`` may be, null left out; see :func:`streaming.attribute_types.misfit`.

        Raises:
            Absent: There is none.
        """
        found = [self._root]
        names = path.split(".")
        for depth, name in enumerate(names):
            found = [inside for each in found for inside in self._inside(each, name)]
            if not found:
                raise Absent(".".join(names[: depth + 1]))
        return frozenset(self._shape(each) for each in found)

    def _learn(self, node: Any, namespace: str) -> Any:
        """``node`` with every name in full; types are remembered by theirs."""
        if isinstance(node, list):
            return [self._learn(each, namespace) for each in node]
        if isinstance(node, str):
            return (
                node if node in _PRIMITIVE or node == "null" or "." in node or not namespace else f"{namespace}.{node}"
            )
        kind = node["type"]
        if kind not in _COMPLEX if isinstance(kind, str) else True:
            # A type with attributes of its own, such as a logical type, or one that is only wrapped.
            inner = self._learn(kind, namespace)
            return {**node, "type": inner} if isinstance(inner, str) and inner in _PRIMITIVE else inner
        learnt = dict(node)
        if "name" in node:
            name = str(node["name"])
            space = name.rpartition(".")[0] or str(node.get("namespace", namespace))
            self._named[f"{space}.{name.rpartition('.')[2]}" if space else name] = learnt
            namespace = space
        if kind in {"record", "error"}:
            learnt["type"] = "record"
            learnt["fields"] = {each["name"]: self._learn(each["type"], namespace) for each in node["fields"]}
        elif kind in {"array", "map"}:
            key = "items" if kind == "array" else "values"
            learnt[key] = self._learn(node[key], namespace)
        return learnt

    def _branches(self, node: Any) -> list[Any]:
        """The types that ``node`` may be, names resolved, null left out."""
        if isinstance(node, list):
            return [branch for each in node for branch in self._branches(each)]
        if node == "null" or (isinstance(node, dict) and node["type"] == "null"):
            return []
        if isinstance(node, str) and node not in _PRIMITIVE:
            return [self._named[node] if node in self._named else self._named[node.rpartition(".")[2]]]
        return [node]

    def _inside(self, node: Any, name: str) -> list[Any]:
        found = []
        for branch in self._branches(node):
            if isinstance(branch, dict) and branch["type"] == "record" and name in branch["fields"]:
                found += self._branches(branch["fields"][name]) or ["null"]
            elif isinstance(branch, dict) and branch["type"] == "map":
                found += self._branches(branch["values"])
        return found

    def _shape(self, node: Any) -> str:
        if isinstance(node, str):
            return _PRIMITIVE.get(node, node)
        if node["type"] == "array":
            items = {self._shape(each) for each in self._branches(node["items"])}
            return f"list[{' or '.join(sorted(items))}]"
        if node["type"] in {"record", "map"}:
            return "object"
        return _LOGICAL.get(str(node.get("logicalType")), _PRIMITIVE[node["type"]])
