"""Writes a commented pipeline.yaml of what was found in the topics; knows its form, not how it was found."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from infra.pipeline_file import parse_pipeline
from infra.spec import Kafka, SchemaRegistry
from springtide.survey.columns import Table
from springtide.survey.features import Proposal
from springtide.survey.findings import FeedbackFindings, Findings
from springtide.survey.times import NAMES, TimeColumn
from streaming.delays import span

DIM: Final = 9  # a linear weight and eight factors
COLUMN: Final = 64
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*")
_WORDS: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def draft(
    found: Findings,
    *,
    name: str,
    kafka: Kafka,
    store: str,
    endpoint: str | None,
    registry: SchemaRegistry | None = None,
) -> str:
    """The text of a pipeline that joins and learns what was found.

    Args:
        found: What the topics told.
        name: The model's name.
        kafka: How the topics are reached.
        store: URL of the store for versions.
        endpoint: Address of a store that is not Amazon's.
        registry: Knows the schemas, where a topic is in Avro.

    Returns:
        YAML that :func:`infra.pipeline_file.parse_pipeline` takes.
    """
    several = len(found.feedback) > 1
    lines = [
        f"# Written by `springtide init` from {len(found.shown):,} impressions and "
        + ", ".join(f"{len(each.table):,} messages of `{each.table.topic}`" for each in found.feedback)
        + ".",
        "# Read it, correct what you know better, then: springtide check; springtide doctor.",
        f"name: {name}",
        "kafka:",
        *_kafka(kafka),
        *_registry(registry, found),
        "events:",
        "  impressions:",
        f"    topic: {_text(found.shown.topic)}",
        *_encoding(found.shown, "    "),
        *_key(found.key, _uniqueness(found), "    "),
        *_time(found.time, "    "),
    ]
    lines += ["    fields:", *(_noted(f"      - {_field(each)}", each.about) for each in found.proposals)]
    lines += [f"      # Left out: {_printable(each.path)}: {each.why}" for each in found.left_out]
    lines += ["  feedback:", *(line for each in _named(found) for line in _feedback(*each, several=several))]
    lines += ["join:", *_join(found)]
    lines += ["features:", *(f"  - {_feature(each)}" for each in found.proposals)]
    tables = [each.name for each in found.proposals if each.kind == "id"]
    if tables:
        lines += [f"tables:  # dim {DIM}: a linear weight and {DIM - 1} factors an id"]
        lines += [f"  - {{name: {each}, dim: {DIM}}}" for each in tables]
    model = "deepfm" if tables else "lr"
    lines += [
        f"model: {{name: {model}}}  # docs/models.md has the others",
        "learner:",
        _noted("  commit_interval: 1s", "a version so often"),
        "store:",
        *_store(store, endpoint),
        "slo:",
        _noted("  behind: 10s", "`springtide alerts` tells when replicas are further behind"),
    ]
    text = "\n".join(lines) + "\n"
    parse_pipeline(text, "the draft")
    return text


def feedback_name(topic: str) -> str:
    """What one event of a topic is called: `click` of `shop.web-clicks`."""
    word = re.split(r"[._-]", topic.strip("._-"))[-1].lower()
    word = word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word
    return word if re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", word) and word != "impressions" else "feedback"


def model_name(topic: str) -> str:
    """A model's name after its topic of impressions."""
    word = re.sub(r"[^a-z0-9_-]", "-", re.split(r"[.]", topic)[0].lower()).strip("-_")
    return word[:63] if re.match(r"[a-z]", word) else "model"


def _named(found: Findings) -> Iterable[tuple[str, FeedbackFindings]]:
    taken: set[str] = set()
    for each in found.feedback:
        name, number = feedback_name(each.table.topic), 2
        while name in taken:
            name, number = f"{feedback_name(each.table.topic)}_{number}", number + 1
        taken.add(name)
        yield name, each


def _kafka(kafka: Kafka) -> list[str]:
    lines = [f"  bootstrap: {_text(kafka.bootstrap)}"]
    if kafka.security != "plaintext":
        lines.append(f"  security: {kafka.security}")
    for part, settings in kafka.model_dump(mode="json", exclude_none=True, include={"sasl", "tls"}).items():
        lines.append(f"  {part}: {json.dumps(settings)}")
    return lines


def _registry(registry: SchemaRegistry | None, found: Findings) -> list[str]:
    tables = [found.shown, *(each.table for each in found.feedback)]
    if registry is None or all(each.encoding.format != "avro" for each in tables):
        return []
    settings = registry.model_dump(mode="json", exclude_none=True)
    return ["schema_registry:", *(f"  {name}: {json.dumps(value)}" for name, value in settings.items())]


def _encoding(table: Table, indent: str) -> list[str]:
    encoding = table.encoding
    if encoding.format == "json":
        return []
    lines = [f"{indent}format: {encoding.format}"]
    if encoding.format == "avro":
        subject = f"{_printable(table.topic)}-value"
        return [_noted(lines[0], f"checked against the subject `{subject}`; `subject` names another")]
    lines += [f"{indent}proto: {_text(encoding.proto)}", f"{indent}message: {_text(encoding.message)}"]
    framed = _noted(f"{indent}framed: true", "a registry's serializer puts some bytes in front")
    return [*lines, framed] if encoding.framed else lines


def _uniqueness(found: Findings) -> str:
    values, messages = found.feedback[0].pairing.impressions, len(found.shown)
    others = sorted({f"`{mine}`" for each in found.feedback for mine, _ in each.pairing.others if mine != found.key})
    also = f"; {', '.join(others)} would pair, too" if others else ""
    return f"{values:,} values in {messages:,} messages{also}"


def _key(key: str, about: str, indent: str) -> list[str]:
    return [_noted(f"{indent}key: {_text(key)}", about)]


def _time(time: TimeColumn, indent: str) -> list[str]:
    behind = ""
    if time.behind_ms is not None:
        order = "after" if time.behind_ms >= 0 else "before"
        behind = f"; received {_seconds(abs(time.behind_ms))} {order} it (median)"
    lines = [_noted(f"{indent}time: {_text(time.path)}", NAMES[time.unit] + behind)]
    return lines if time.unit == "iso8601" else [*lines, f"{indent}time_unit: {time.unit}"]


def _feedback(name: str, each: FeedbackFindings, *, several: bool) -> list[str]:
    pairing = each.pairing
    found = f"{pairing.matched:,} of {pairing.feedback:,} ({_share(pairing.matched, pairing.feedback)})"
    answered = _share(pairing.matched, pairing.impressions)
    return [
        f"    # {found} found their impression; of the impressions {answered} were answered.",
        f"    # Delay p50 {_seconds(each.p50_ms)}, p99 {_seconds(each.p99_ms)}: a window of {span(each.window_s)}.",
        *_others(each),
        f"    - name: {name}",
        f"      topic: {_text(each.table.topic)}",
        *_encoding(each.table, "      "),
        f"      key: {_text(pairing.feedback_key)}",
        *_time(each.time, "      "),
        *([f"      window: {span(each.window_s)}", f"      correction_window: {span(each.correction_s)}"] * several),
    ]


def _others(each: FeedbackFindings) -> list[str]:
    """Columns by which kinds of feedback in one topic may be told apart."""
    taken = {each.pairing.feedback_key, each.time.path}
    for column in each.table.columns.values():
        if column.path not in taken and column.type == "string" and 2 <= column.distinct <= 10:
            common = [(_printable(value), number) for value, number in column.counts().most_common(3)]
            said = ", ".join(f"{value} {_share(number, len(each.table))}" for value, number in common)
            example = f"`when: {{field: {_printable(column.path)}, equals: {common[0][0]}}}`"
            return [f"    # `{_printable(column.path)}` is {said}: {example} takes one kind only."]
    return []


def _join(found: Findings) -> list[str]:
    longest = max(found.feedback, key=lambda each: each.window_s)
    return [
        _noted(f"  window: {span(longest.window_s)}", "an impression without a click is a negative after this"),
        _noted(
            f"  correction_window: {span(max(e.correction_s for e in found.feedback))}", "a later click corrects it"
        ),
        _noted(f"  out_of_orderness: {span(found.disorder_s)}", "twice the disorder seen, or more"),
        _noted(f"  skew: {span(found.skew_s)}", "how far a click may seem to come before its impression"),
    ]


def _field(each: Proposal) -> str:
    kind = each.type if not each.type.startswith("list") else f'"{each.type}"'
    path = f", path: {each.path}" if each.path != each.name else ""
    return f"{{name: {_text(each.name)}, type: {kind}{path}}}"


def _feature(each: Proposal) -> str:
    name = _text(each.name)
    if each.kind == "number":
        return f"{{kind: number, name: {name}, source: {name}, scaling: {each.scaling}}}"
    return f"{{name: {name}, source: {name}, table: {name}}}"


def _store(store: str, endpoint: str | None) -> list[str]:
    lines = [_noted(f"  url: {_text(store)}", "where versions go; its bucket must exist")]
    if endpoint is not None:
        lines.append(f"  endpoint: {_text(endpoint)}")
    if store.startswith("s3://"):
        lines.append("  # Without these two, from the environment (AWS variables, web identity, instance role).")
        lines += [f"  # {name}: {{env: {name.upper()}}}" for name in ("access_key", "secret_key")]
    return lines


def _seconds(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    if abs(seconds) >= 172_800:
        return f"{seconds / 86_400:,.0f} d"
    return f"{seconds:.3g} s" if abs(seconds) < 1000 else f"{seconds:,.0f} s"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"


def _text(value: str) -> str:
    """``value`` as YAML, in quotes where it would be taken for something else."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not re.fullmatch(r"[0-9.:_xXeE-]+", value)
    return value if plain else json.dumps(value)


def _printable(value: str) -> str:
    """``value`` on one line of a comment, whatever somebody sent."""
    return "".join(each if each.isprintable() else " " for each in value)[:COLUMN]


def _noted(line: str, note: str) -> str:
    return f"{line:<{COLUMN}}# {note}" if len(line) < COLUMN else f"{line}  # {note}"
