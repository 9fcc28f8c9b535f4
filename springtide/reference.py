"""Writes the reference pages of the documents from code: pipeline.yaml, commands, alerts, events, a manifest's fields.

``python -m springtide.reference`` writes them; ``make reference`` calls it.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer

import checkpointing.log_events
import dashboard.log_events
import infra.log_events
import learner.log_events
import serving.log_events
import springtide.log_events
import streaming.log_events
from dashboard.monitoring.alerts import Limits, alerts
from infra.pipeline_file import pipeline_schema
from springtide.arrangement import EXIT_CODES, PANELS
from springtide.cli import app

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = "docs/reference"
MADE: Final = "Made from code by `make reference`; a test holds it to the code.\n"
LONGEST: Final = 60
# Events by who logs them, as a sample goes through them.
ROOMS: Final[Mapping[str, Mapping[str, str]]] = {
    "streaming": streaming.log_events.EVENTS,
    "learner": learner.log_events.EVENTS,
    "checkpointing": checkpointing.log_events.EVENTS,
    "serving": serving.log_events.EVENTS,
    "dashboard": dashboard.log_events.EVENTS,
    "springtide": springtide.log_events.EVENTS,
    "infra": infra.log_events.EVENTS,
}
# From here on a bound is that of the type, not of the matter.
ANY: Final = 2**31
# Patterns of the schema that a person knows by a word.
TYPES: Final = {"object": "map", "boolean": "true, false", "null": "nothing"}
WORDS: Final = {"(ms|s|m|h|d)$": "time, as `10s`", "GB)$": "bytes, as `16MiB`"}


def cell(text: str) -> str:
    """Text that keeps to one cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def kind_of(schema: Mapping[str, Any]) -> str:
    """What may stand at a place of the file, in words."""
    if "$ref" in schema:
        return link(schema["$ref"])
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(kind_of, several)))
    if choices := schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
        return ", ".join(f"`{value}`" for value in choices)
    name = str(schema.get("type", "any"))
    if name == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    known = [word for ending, word in WORDS.items() if schema.get("pattern", "").endswith(ending)]
    return known[0] if known else TYPES.get(name, name)


def link(reference: str) -> str:
    """A link to another part's section."""
    name = reference.rsplit("/", 1)[1]
    return "any" if name == "JsonValue" else f"[{name}](#{name.lower()})"


def bounds(schema: Mapping[str, Any]) -> str:
    """The least and the most that a number may be."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    inner = [schema, *schema.get("anyOf", [])]
    return ", ".join(
        f"{sign} {one[key]:g}" for one in inner for key, sign in signs.items() if abs(one.get(key, ANY)) < ANY
    )


def default_of(schema: Mapping[str, Any], *, required: bool) -> str:
    """What holds where the file is silent."""
    if required:
        return "**wanted**"
    value = schema.get("default")
    if value is None or "$ref" in schema:
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return f"`{cell(text)}`" if len(text) <= LONGEST else "see there"


def meanings(description: str) -> dict[str, str]:
    """Field -> meaning, from the section `Attributes:` of a docstring."""
    _, _, section = description.partition("Attributes:\n")
    entries = re.split(r"\n    (?=\w+: )", "\n" + section)[1:]
    return {name: cell(text) for name, _, text in (entry.partition(": ") for entry in entries)}


def fields(schema: Mapping[str, Any]) -> Iterator[str]:
    """The table of one part's fields."""
    told = meanings(schema.get("description", ""))
    yield "| key | what | default | |\n|---|---|---|---|\n"
    for name, one in schema.get("properties", {}).items():
        default = default_of(one, required=name in schema.get("required", ()))
        said = "; ".join(filter(None, (bounds(one), told.get(name, ""))))
        yield f"| `{name}` | {cell(kind_of(one))} | {default} | {said} |\n"


def pipeline_page() -> str:
    """Every key that a pipeline.yaml may have."""
    schema = pipeline_schema()
    told = "A key that is not here is refused by its name; `springtide check` tells all errors."
    lines = [f"# pipeline.yaml\n\n{MADE}{told}\n\n"]
    lines += fields(schema)
    for name, part in sorted(schema["$defs"].items()):
        if "properties" in part:
            about = part.get("description", "").partition("Attributes:")[0].strip().replace("``", "`")
            lines += [f"\n## {name}\n", f"\n{about}\n" if about else "", "\n", *fields(part)]
    return "".join(lines)


def parameters(command: Any) -> Iterator[str]:
    """A table of one command's arguments and options."""
    shown = [each for each in command.params if each.name != "help" and not getattr(each, "hidden", False)]
    if not shown:
        return
    yield "\n| | what | default |\n|---|---|---|\n"
    for each in shown:
        names = [each.name.upper()] if each.param_type_name == "argument" else [*each.opts, *each.secondary_opts]
        default = getattr(each.default, "value", each.default)
        silent = each.required or default in (None, "", False) or callable(default) or default == ()
        wanted = "**wanted**" if each.required else ""
        shown_default = wanted if silent else f"`{cell(str(default))}`"
        yield f"| {', '.join(f'`{one}`' for one in names)} | {cell(each.help or '')} | {shown_default} |\n"


def commands_page() -> str:
    """Every command with its options, panel by panel as the help has them."""
    root = typer.main.get_command(app)
    lines = [f"# Commands\n\n{MADE}[How to begin](../commands.md) says what the help has no room for.\n"]
    lines += [
        "\n| exit code | meaning |\n|---|---|\n",
        *(f"| {code} | {text} |\n" for code, text in EXIT_CODES.items()),
    ]
    for panel, names in PANELS.items():
        lines.append(f"\n## {panel}\n")
        for name in names:
            command: Any = root.commands[name]  # type: ignore[attr-defined]
            inner = getattr(command, "commands", None) or {"": command}
            for word, one in inner.items():
                lines.append(f"\n### springtide {' '.join(filter(None, (name, word)))}\n\n{(one.help or '').strip()}\n")
                lines += parameters(one)
    return "".join(lines)


def alerts_page() -> str:
    """Every alert with its rule for the default objective."""
    lines = [
        f"# Alerts\n\n{MADE}`springtide alerts pipeline.yaml` prints these rules for a pipeline's own objective.\n"
    ]
    lines.append("\n| alert | severity | when | for | what to do |\n|---|---|---|---|---|\n")
    for each in alerts(Limits()):
        told = f"| `Springtide{each.name}` | {each.severity} | `{cell(each.expression)}` | {each.lasting} "
        lines.append(f"{told}| [{each.runbook}](../runbooks/{each.runbook}.md) |\n")
    return "".join(lines)


def events_page() -> str:
    """Every event that a process may log, by the room that logs it."""
    lines = [
        f"# Log events\n\n{MADE}A line of a log has one of these names under `event`; its other fields say which.\n"
    ]
    for room, events in ROOMS.items():
        lines.append(f"\n## {room}\n\n| event | what it says |\n|---|---|\n")
        lines += [f"| `{name}` | {cell(text)} |\n" for name, text in sorted(events.items())]
    return "".join(lines)


def manifest_page() -> str:
    """Every field of a version's manifest."""
    schema = json.loads((ROOT / "checkpointing/manifest.schema.json").read_text(encoding="utf-8"))
    lines = [f"# A manifest's fields\n\n{MADE}[The format of versions](format.md) is what they mean, word by word.\n\n"]
    lines += fields(schema)
    for name, part in sorted(schema.get("$defs", {}).items()):
        if "properties" in part:
            lines += [f"\n## {name}\n\n", *fields(part)]
    return "".join(lines)


def generated() -> dict[str, str]:
    """Path below the root and wanted text of each page."""
    return {
        f"{FOLDER}/pipeline.md": pipeline_page(),
        f"{FOLDER}/commands.md": commands_page(),
        f"{FOLDER}/alerts.md": alerts_page(),
        f"{FOLDER}/events.md": events_page(),
        f"{FOLDER}/manifest.md": manifest_page(),
    }


if __name__ == "__main__":
    for path, page in generated().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(page, encoding="utf-8")
        sys.stdout.write(f"{path} written\n")
