"""Writes what of the chart is made from code: schema and defaults of its values, alerts, dashboard; renders nothing.

``python -m springtide.chart_schema`` writes all of them; ``make chart`` calls it.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from ruamel.yaml import YAML

from dashboard.monitoring.alerts import Limits
from dashboard.monitoring.grafana import grafana
from dashboard.monitoring.rules import rules
from infra.pipeline_file import LARGEST_SAFE, pipeline_schema
from infra.units import Quantity
from springtide.chart_values import Values

CHART: Final = Path(__file__).resolve().parents[1] / "helm" / "springtide"
WIDTH: Final = 118
# As large a number as any reader keeps; a larger one is written as text, which a pipeline takes as well.
MOST: Final = LARGEST_SAFE - 1
HEAD: Final = """\
# SPDX-License-Identifier: Apache-2.0
# The defaults of every value but `pipeline`, which has none: it is your pipeline.yaml, indented below `pipeline:`
# (docs/helm.md). Written by `make chart` from springtide/chart_values.py.
"""
# Numbers that no rule has of its own, to find the places of the objective and of a learner's silence by.
BEHIND, SILENCE = 123_457, 655_311
PIPELINE: Final = "Your pipeline.yaml. What it does not say of addresses in the cluster, the chart adds."


def values_schema() -> dict[str, Any]:
    """JSON Schema of the chart's values; the pipeline's definitions stand at the root as ``pipeline.<name>``."""
    schema = Values.model_json_schema()
    pipeline = _without_inline_secrets(_hoisted(pipeline_schema()))
    definitions = {**schema.pop("$defs"), **pipeline.pop("$defs")}
    for key in ("$schema", "title", "description"):
        pipeline.pop(key, None)
    # Optional here, so that the chart itself can say how to give one.
    properties = {**schema["properties"], "pipeline": {"$ref": "#/$defs/pipeline"}}
    definitions["pipeline"] = {"description": PIPELINE, **pipeline}
    whole: dict[str, Any] = _safe_integers(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Values of the chart springtide",
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
            "$defs": dict(sorted(definitions.items())),
        }
    )
    return whole


def values_yaml() -> str:
    """The chart's values.yaml: every default, below the words of its model."""
    lines = [HEAD.rstrip()]
    said: set[str] = set()
    for name, field in Values.model_fields.items():
        if field.alias is None:
            lines += ["", *_entry(Values(), name, "", said)]
    return "\n".join(lines) + "\n"


def alert_rules() -> str:
    """The alerts with `@behind@` and `@silence@`, in seconds, where a pipeline's own limits belong."""
    text = rules(Limits(behind_s=BEHIND, heartbeat_s=SILENCE / 3))
    return text.replace(str(BEHIND), "@behind@").replace(str(SILENCE), "@silence@")


def written() -> dict[str, str]:
    """File of the chart -> what it must say."""
    return {
        "values.schema.json": json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n",
        "values.yaml": values_yaml(),
        "files/springtide.rules.yaml": alert_rules(),
        "files/springtide.grafana.json": grafana(),
    }


def _entry(owner: BaseModel, name: str, indent: str, said: set[str]) -> list[str]:
    """One key and what is below it; its comment, where that was not ``said`` before of another role."""
    field, value = type(owner).model_fields[name], getattr(owner, name)
    comment = " ".join((field.description or "").split())
    comment = "" if comment in said else comment
    said.add(comment)
    lines = [f"{indent}# {line}" for line in textwrap.wrap(comment, WIDTH - len(indent) - 2)]
    if isinstance(value, BaseModel):
        lines.append(f"{indent}{name}:")
        for key in type(value).model_fields:
            lines += _entry(value, key, indent + "  ", said)
        return lines
    yaml, stream = YAML(), io.StringIO()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump({name: str(value) if isinstance(value, Quantity) else value}, stream)
    return [*lines, *(indent + line for line in stream.getvalue().rstrip().splitlines())]


def _hoisted(schema: Any) -> Any:
    """The schema with all its definitions, and what points to them, renamed to ``pipeline.<name>``."""
    if isinstance(schema, dict):
        renamed = {key: _hoisted(value) for key, value in schema.items()}
        if "$defs" in schema:
            renamed["$defs"] = {f"pipeline.{name}": _hoisted(value) for name, value in schema["$defs"].items()}
        return renamed
    if isinstance(schema, list):
        return [_hoisted(each) for each in schema]
    prefix = "#/$defs/"
    if isinstance(schema, str) and schema.startswith(prefix):
        return f"{prefix}pipeline.{schema.removeprefix(prefix)}"
    return schema


def _without_inline_secrets(schema: dict[str, Any]) -> dict[str, Any]:
    """Without `value` of a secret: it would stand in a ConfigMap, and in every release that Helm remembers."""
    secret = schema["$defs"]["pipeline.Secret"]
    del secret["properties"]["value"]
    return schema


def _safe_integers(schema: Any) -> Any:
    """Helm reads numbers as floats: an integer that might not survive that is taken as text."""
    if isinstance(schema, list):
        return [_safe_integers(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    safe = {key: _safe_integers(value) for key, value in schema.items()}
    if safe.get("type") != "integer" or safe.get("maximum", LARGEST_SAFE) <= MOST:
        return safe
    about = {key: safe.pop(key) for key in ("default", "title", "description") if key in safe}
    number = {**safe, "maximum": MOST, "minimum": max(safe.get("minimum", -MOST), -MOST)}
    text = {"type": "string", "pattern": "^-?[0-9]+$", "description": "Beyond 2^53 an integer is written as text."}
    return {"anyOf": [number, text], **about}


def main() -> None:
    """Writes every file."""
    for name, text in written().items():
        path = CHART / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{CHART.name}/{name} written\n")


if __name__ == "__main__":
    main()
