"""Reads and writes pipeline.yaml: every error at once, each with its line and column; must not use a network.

``load_pipeline(path) -> Pipeline``; ``parse_pipeline(text, name) -> Pipeline``; ``dump_pipeline(pipeline) -> str``;
``pipeline_schema() -> dict``.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from ruamel.yaml import YAML, ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from infra.errors import Invalid
from infra.spec import EventField, Events, Feature, Model, Pipeline, Table
from infra.spec_checks import Finding, Named, Parts, findings
from infra.spec_wording import Wrong, wordings
from infra.yaml_source import Problem, Source, Spot, read_yaml

MAX_BYTES: Final = 4 << 20
# Helm and other readers keep integers only up to here.
LARGEST_SAFE: Final = 1 << 53
CREATE: Final = "write one, or run `springtide init`"

_FEATURE: Final[TypeAdapter[Feature]] = TypeAdapter(Feature)
_PartT = TypeVar("_PartT", bound=BaseModel)


def load_pipeline(path: Path | str) -> Pipeline:
    """The pipeline in the file ``path``.

    Raises:
        Invalid: One line per error: ``pipeline.yaml:8:3  join.windw: unknown key; nearest is `window```.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Invalid("the file is far too large for a pipeline", wanted="at most 4 MiB", where=str(path))
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise Invalid("no such file", cure=CREATE, where=str(path)) from None
    except IsADirectoryError:
        raise Invalid("is a folder", wanted="a pipeline.yaml", where=str(path)) from None
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", cure="let this user read it", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise Invalid(f"not UTF-8 text (byte {error.start})", cure="save it as UTF-8", where=str(path)) from None
    return parse_pipeline(text, str(path))


def parse_pipeline(text: str, name: str = "pipeline.yaml") -> Pipeline:
    """The pipeline in ``text``; ``name`` stands for it in messages.

    Raises:
        Invalid: As :func:`load_pipeline`.
    """
    source = read_yaml(text)
    if source.value is None and not source.problems:
        raise Invalid("the file is empty", cure=CREATE, where=name)
    problems = list(source.problems)
    pipeline: Pipeline | None = None
    if source.value is not None and not isinstance(source.value, dict):
        problems.append(Problem(source.spot_of_value(()), "wanted a mapping: `name: ...`, `kafka: ...`, and so on"))
    elif source.value is not None:
        try:
            pipeline = Pipeline.model_validate(source.value)
        except ValidationError as error:
            wrong = list(wordings(error))
            problems += [_located(source, each) for each in wrong]
            problems += [_located(source, Wrong(place, False, text)) for place, text in _between(source.value)]
    if problems or pipeline is None:
        unique = sorted(set(problems))
        raise Invalid("\n".join(f"{name}:{each.spot.line}:{each.spot.column}  {each.text}" for each in unique))
    return pipeline


def dump_pipeline(pipeline: Pipeline) -> str:
    """YAML that :func:`parse_pipeline` reads back as an equal pipeline; what has its default value is left out."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.Representer = _Representer
    stream = io.StringIO()
    plain = pipeline.model_dump(mode="json", exclude_defaults=True)
    # A feature's kind is what tells its other keys, default or not.
    kinds = [{"kind": feature.kind} for feature in pipeline.features]
    plain["features"] = [kind | feature for kind, feature in zip(kinds, plain["features"], strict=True)]
    yaml.dump(_safe(plain), stream)
    return stream.getvalue()


def pipeline_schema() -> dict[str, Any]:
    """JSON Schema of pipeline.yaml, for editors and the chart."""
    schema = Pipeline.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Springtide pipeline"}


class _Representer(RoundTripRepresenter):
    """Floats as readers of YAML 1.1 take them for such, too: to them ``1e+16`` without a point is text."""

    def represent_float(self, data: float) -> ScalarNode:
        node: ScalarNode = super().represent_float(data)
        if "." not in node.value:
            node.value = node.value.replace("e", ".0e")
        return node


_Representer.add_representer(float, _Representer.represent_float)


def _safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _safe(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_safe(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_SAFE:
        return str(value)
    return value


def _located(source: Source, wrong: Wrong) -> Problem:
    spot: Spot = source.spot_of_key(wrong.place) if wrong.at_key else source.spot_of_value(wrong.place)
    place = ".".join(map(str, wrong.place))
    return Problem(spot, f"{place}: {wrong.text}" if place else wrong.text)


def _between(data: dict[str, Any]) -> Iterator[Finding]:
    """What does not fit between the parts that are valid by themselves, so that one wrong part hides nothing."""
    events = data.get("events")
    impressions = events.get("impressions") if isinstance(events, dict) else None
    fields = _entries(impressions.get("fields") if isinstance(impressions, dict) else None)
    tables, features = _entries(data.get("tables")), _entries(data.get("features"))
    model = data.get("model", {})
    judged = {index: found for index, entry in features.items() if (found := _feature(entry)) is not None}
    return findings(
        Parts(
            events=_valid(Events, events),
            fields=_named(fields),
            valid_fields=_all_valid(EventField, fields),
            tables=_named(tables),
            valid_tables=_all_valid(Table, tables),
            features=_named(features),
            valid_features=judged,
            features_complete=isinstance(data.get("features"), list) and len(judged) == len(data["features"]),
            model=_valid(Model, model),
        )
    )


def _entries(value: Any) -> dict[int, dict[str, Any]]:
    entries = value if isinstance(value, list) else []
    return {index: entry for index, entry in enumerate(entries) if isinstance(entry, dict)}


def _named(entries: dict[int, dict[str, Any]]) -> tuple[Named, ...]:
    return tuple(Named(index, entry["name"]) for index, entry in entries.items() if isinstance(entry.get("name"), str))


def _valid(kind: type[_PartT], value: Any) -> _PartT | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _all_valid(kind: type[_PartT], entries: dict[int, dict[str, Any]]) -> dict[int, _PartT]:
    return {index: found for index, entry in entries.items() if (found := _valid(kind, entry)) is not None}


def _feature(entry: dict[str, Any]) -> Feature | None:
    try:
        return _FEATURE.validate_python(entry)
    except ValidationError:
        return None
