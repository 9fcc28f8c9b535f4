"""Says in a person's words what is wrong with a pipeline's values; must not know where they were read."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from infra.spec import BucketFeature, CrossFeature, IdFeature, NumberFeature, Pipeline, Secret
from infra.spec_checks import nearest
from infra.spec_part import PATTERNS, LocatedErrors, Part, Place

KINDS: Final[Mapping[str, type[Part]]] = {
    "id": IdFeature,
    "cross": CrossFeature,
    "bucket": BucketFeature,
    "number": NumberFeature,
}
WANTED_TYPES: Final[Mapping[str, str]] = {
    "string": "text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "model": "a mapping",
}


class Wrong(typing.NamedTuple):
    """One thing wrong: the value's place, whether its key rather than its value is meant, and the words."""

    place: Place
    at_key: bool
    text: str


def wordings(error: ValidationError) -> Iterator[Wrong]:
    """Every error of a :class:`~infra.spec.Pipeline` that pydantic found, in its order."""
    details = error.errors(include_url=False)
    for detail in details:
        place = _place(detail["loc"])
        if detail["type"] == "too_short" and sum(each["loc"][: len(place)] == detail["loc"] for each in details) > 1:
            # pydantic counts the entries that are right; those that are wrong tell it themselves.
            continue
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, LocatedErrors):
            for below, text in cause.errors:
                yield Wrong((*place, *below), False, text)
        else:
            yield _wording(detail, place)


def _wording(detail: ErrorDetails, place: Place) -> Wrong:
    kind, context, location = detail["type"], detail.get("ctx", {}), detail["loc"]
    owner = _model_at(location[:-1])
    if kind == "extra_forbidden":
        return Wrong(place, True, f"unknown key{_nearest_key(place, owner)}")
    if kind == "missing":
        return Wrong(place, True, f"missing; wanted {_form(location)}")
    if kind == "value_error":
        return Wrong(place, False, str(context["error"]))
    if kind == "union_tag_invalid":
        tag = str(context["tag"])
        return Wrong((*place, "kind"), False, f"got `{tag}`{nearest(tag, KINDS)}")
    if Secret in {owner, _model_at(location)}:
        # What stands there may be the secret itself.
        inside = owner is Secret
        return Wrong(place, False, "wanted text" if inside else "wanted a mapping with one of `env`, `file`, `value`")
    return Wrong(place, False, f"got {_shown(detail['input'])}{_wanted(detail)}")


def _wanted(detail: ErrorDetails) -> str:
    """The end of a message on a value: what would have been right."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return nearest(str(detail["input"]), _literals(detail["loc"]))
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return f", wanted {PATTERNS.get(pattern, pattern)}"
    for bound, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if bound in context:
            return f", wanted {word} {context[bound]:g}"
    for bound, word in (("min_length", "at least"), ("max_length", "at most")):
        if bound in context:
            number = context[bound]
            one, many = ("character", "characters") if kind.startswith("string") else ("entry", "entries")
            got = f" of {context['actual_length']}" if "actual_length" in context else ""
            return f"{got}, wanted {word} {number} {one if number == 1 else many}"
    wanted = WANTED_TYPES.get(kind.partition("_")[0])
    return f", wanted {wanted}" if wanted is not None else f"; {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _shown(value: Any) -> str:
    """A value as the file has it, short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _nearest_key(place: Place, owner: type[BaseModel] | None) -> str:
    if owner is None:
        return ""
    key = str(place[-1])
    here = nearest(key, owner.model_fields)
    if "nearest" in here:
        return here
    elsewhere = [path for path in _all_keys(Pipeline, ()) if path[-1] == key]
    return f"; it belongs to `{'.'.join(elsewhere[0][:-1])}`" if len(elsewhere) == 1 and elsewhere[0][:-1] else here


def _all_keys(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*above, name)
        inner = _bare(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _all_keys(inner, (*above, name))


def _place(location: tuple[int | str, ...]) -> Place:
    """pydantic's location without the name of the union's member, which is not in the file."""
    place: list[int | str] = []
    for index, step in enumerate(location):
        if not (index == 2 and location[0] == "features" and step in KINDS):
            place.append(step)
    return tuple(place)


def _annotation_at(location: Place) -> Any:
    """The annotation of the value at pydantic's ``location``; None where the schema has none."""
    found: Any = Pipeline
    for index, step in enumerate(location):
        found = _bare(found)
        if index == 2 and location[0] == "features":
            found = KINDS.get(str(step))
        elif isinstance(step, int):
            found = typing.get_args(found)[0] if typing.get_origin(found) is tuple else None
        elif isinstance(found, type) and issubclass(found, BaseModel) and step in found.model_fields:
            found = found.model_fields[step].annotation
        else:
            return None
    return found


def _bare(annotation: Any) -> Any:
    """The annotation without Annotated and Optional."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in {Union, types.UnionType} and type(None) in typing.get_args(annotation):
            annotation = next(each for each in typing.get_args(annotation) if each is not type(None))
        else:
            return annotation


def _model_at(location: Place) -> type[BaseModel] | None:
    found = _bare(_annotation_at(location))
    if isinstance(found, type) and issubclass(found, BaseModel):
        return found
    return None


def _literals(location: Place) -> tuple[str, ...]:
    return tuple(map(str, typing.get_args(_bare(_annotation_at(location)))))


def _form(location: Place) -> str:
    """What a missing value should be."""
    bare = _bare(_annotation_at(location))
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        required = [f"`{name}`" for name, field in bare.model_fields.items() if field.is_required()]
        return "a mapping" + (f" with {', '.join(required)}" if required else "")
    if typing.get_origin(bare) is tuple:
        return "a list"
    return {str: "text", int: "an integer", float: "a number"}.get(bare, "a value")
