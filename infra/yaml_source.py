"""A YAML text as plain values, and where in the text each of them stands; knows no schema."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from infra.errors import Bug
from infra.spec_part import Place

# Far more than any pipeline has; a text that unfolds to more through its aliases is an attack or an accident.
MAX_NODES: Final = 20_000
_PLAIN: Final = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}


@dataclass(frozen=True, order=True)
class Spot:
    """A place in a text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong, where it stands and what it is."""

    spot: Spot
    text: str


@dataclass
class Source:
    """The values of a text and their spots.

    Attributes:
        value: Mappings, lists, strings, numbers, booleans, None.
        keys: Where each value's own key stands, or the value itself in a list.
        values: Where each value begins.
        problems: What is wrong with the text itself; the values hold what could be read.
    """

    value: Any = None
    keys: dict[Place, Spot] = field(default_factory=dict)
    values: dict[Place, Spot] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def spot_of_key(self, place: Place) -> Spot:
        """Where the key of ``place`` stands, or of the nearest part around it that the text has."""
        while place and place not in self.keys:
            place = place[:-1]
        return self.keys.get(place, Spot(1, 1))

    def spot_of_value(self, place: Place) -> Spot:
        """Where the value of ``place`` begins, or as :meth:`spot_of_key`."""
        return self.values.get(place, self.spot_of_key(place))


class _Reader:
    def __init__(self, text: str) -> None:
        self.source = Source()
        self._yaml = YAML(typ="safe", pure=True)
        self._nodes = 0
        root = self._yaml.compose(text)
        if root is not None:
            self.source.value = self._read(root, ())

    def _read(self, node: Node, place: Place) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooMuch
        spot = _spot(node)
        if isinstance(node, ScalarNode) and not node.value and node.style is None:
            # Nothing stands there, and the text's next token is elsewhere.
            spot = self.source.keys.get(place, spot)
        self.source.values.setdefault(place, spot)
        self.source.keys.setdefault(place, spot)
        if isinstance(node, MappingNode):
            return self._mapping(node, place)
        if isinstance(node, SequenceNode):
            return [self._read(child, (*place, index)) for index, child in enumerate(node.value)]
        if not isinstance(node, ScalarNode):
            raise Bug(f"YAML node {type(node).__name__}")
        if str(node.tag) not in _PLAIN:
            self.source.problems.append(Problem(spot, f"tag `{node.tag}` is not allowed; wanted plain YAML"))
            return node.value
        if str(node.tag).endswith(":timestamp"):
            return node.value
        return self._yaml.constructor.construct_object(node)

    def _mapping(self, node: MappingNode, place: Place) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            spot = _spot(key_node)
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                self.source.problems.append(Problem(spot, "a key that is no plain text; wanted `name: value`"))
                continue
            below = (*place, key)
            if key in found:
                first = self.source.keys[below]
                text = f"{'.'.join(map(str, below))}: the key stands twice; first in line {first.line}"
                self.source.problems.append(Problem(spot, text))
                continue
            self.source.keys[below] = spot
            found[key] = self._read(value_node, below)
        return found


class _TooMuch(Exception):
    """The text unfolds to more than any pipeline has."""


def read_yaml(text: str) -> Source:
    """The one document in ``text``; what is wrong with it stands in the source's problems."""
    try:
        return _Reader(text).source
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        spot = Spot(mark.line + 1, mark.column + 1) if mark is not None else Spot(1, 1)
        reason = " ".join(str(part) for part in (error.context, error.problem) if part)
        return Source(problems=[Problem(spot, f"not YAML: {reason.splitlines()[0]}")])
    except YAMLError as error:
        return Source(problems=[Problem(_first_bad(text), f"not YAML: {str(error).splitlines()[0]}")])
    except (_TooMuch, RecursionError):
        return Source(problems=[Problem(Spot(1, 1), "unfolds without end or to far too much; wanted no such aliases")])
    except ValueError as error:
        return Source(problems=[Problem(Spot(1, 1), f"not YAML: {error}")])


def _spot(node: Node) -> Spot:
    return Spot(node.start_mark.line + 1, node.start_mark.column + 1)


def _first_bad(text: str) -> Spot:
    """Where the first character stands that YAML does not allow."""
    for number, line in enumerate(text.splitlines(), start=1):
        for column, character in enumerate(line, start=1):
            if not (character.isprintable() or character == "\t"):
                return Spot(number, column)
    return Spot(1, 1)
