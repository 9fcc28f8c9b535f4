"""What must hold between the parts of a pipeline, each finding with its place; must not know files or pydantic."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infra.spec_model import table_findings

if TYPE_CHECKING:
    from infra.spec import EventField, Events, Feature, Join, Kafka, Learner, Model, SchemaRegistry, Store, Table, Topic
    from infra.spec_part import Place

Finding = tuple["Place", str]

# Columns that Springtide adds to every sample; a user's field must not hide one.
RESERVED_FIELDS: Final = frozenset(
    {
        "sample_id",
        "impression_ts",
        "received_ts",
        "known_ts",
        "kind",
        "weight",
        "down_sampling_rate",
        "served_version",
        "score",
    }
)
LABEL_PREFIX: Final = "label_"
# A third of the 30 s after which a silent learner is taken over: two heartbeats may be lost.
LONGEST_HEARTBEAT_MS: Final = 10_000
OWN_TOPICS: Final = "springtide."
# Models that read one row of each feature.
POOLED: Final = frozenset({"lr", "wdl", "deepfm", "dlrm"})
_ID_TYPES: Final = ("string", "integer", "list[string]", "list[integer]")
FITTING: Final = {
    "id": _ID_TYPES,
    "cross": _ID_TYPES,
    "bucket": ("integer", "number", "boolean"),
    "number": ("integer", "number", "boolean"),
}


@dataclass(frozen=True)
class Named:
    """A part of a list that has at least a name; the rest of it may be wrong."""

    index: int
    name: str


@dataclass(frozen=True)
class Parts:
    """What is known of a pipeline: all of it, or what is left where some parts are wrong.

    ``fields``, ``tables`` and ``features`` hold every named entry; the ``valid_`` twins by index what can be judged.
    """

    events: Events | None
    fields: tuple[Named, ...]
    valid_fields: dict[int, EventField]
    tables: tuple[Named, ...]
    valid_tables: dict[int, Table]
    features: tuple[Named, ...]
    valid_features: dict[int, Feature]
    features_complete: bool
    model: Model | None


def findings(parts: Parts) -> Iterator[Finding]:
    """Everything that does not fit together, in the order of the file's parts."""
    yield from _event_findings(parts)
    yield from _feature_findings(parts)
    yield from _table_findings(parts)
    yield from _model_findings(parts)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown ``name``: the nearest known one, else all of them, else nothing."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; nearest is `{near[0]}`"
    return f"; known: {', '.join(f'`{each}`' for each in names)}" if 0 < len(names) <= 20 else ""


def twice(place: Place, parts: Iterable[Named]) -> Iterator[Finding]:
    """A name that an earlier entry of the list at ``place`` has."""
    seen: set[str] = set()
    for part in parts:
        if part.name in seen:
            yield (*place, part.index, "name"), f"`{part.name}` is there already; wanted a name of its own"
        seen.add(part.name)


def _event_findings(parts: Parts) -> Iterator[Finding]:
    place = ("events", "impressions", "fields")
    yield from twice(place, parts.fields)
    read = {source for feature in parts.valid_features.values() for source in feature.sources}
    events = parts.events
    for field in parts.fields:
        where = (*place, field.index, "name")
        if field.name in RESERVED_FIELDS or field.name.startswith(LABEL_PREFIX):
            yield where, f"`{field.name}` is a column that Springtide adds; rename the field where it is produced"
        elif events is not None and parts.features_complete and field.name not in read:
            same = {events.impressions.key: "key", events.impressions.time: "time"}.get(field.name)
            if same is not None:
                yield where, f"`{field.name}` is the `{same}` already, and no feature reads it; leave it out"
    if events is None:
        return
    for index, feedback in enumerate(events.feedback):
        if feedback.topic == events.impressions.topic:
            yield ("events", "feedback", index, "topic"), f"`{feedback.topic}` is the impressions' topic already"
        if feedback.name == "impressions":
            yield ("events", "feedback", index, "name"), "`impressions` is taken; wanted another name, such as `click`"
    named = [Named(index, feedback.name) for index, feedback in enumerate(events.feedback)]
    yield from twice(("events", "feedback"), named)
    yield from _shared_topics(events)
    yield from _own_topics(events)


def _shared_topics(events: Events) -> Iterator[Finding]:
    """Kinds of feedback may share a topic, if each says which events it means and all read key and time alike."""
    for index, feedback in enumerate(events.feedback):
        earlier = next((each for each in events.feedback[:index] if each.topic == feedback.topic), None)
        if earlier is None:
            continue
        place = ("events", "feedback", index)
        for name in ("format", "subject", "proto", "message", "framed", "key", "time", "time_unit"):
            if getattr(earlier, name) != getattr(feedback, name):
                yield (*place, name), f"`{earlier.name}` reads the same topic with `{getattr(earlier, name)}`"
        if feedback.when is None or feedback.when == earlier.when:
            yield place, f"`{earlier.name}` reads the same topic; wanted a `when` that tells the two apart"


def _own_topics(events: Events) -> Iterator[Finding]:
    for place, events_of in _topics(events):
        if events_of.topic.startswith(OWN_TOPICS):
            text = f"`{events_of.topic}`: topics that begin with `{OWN_TOPICS}` are Springtide's own"
            yield (*place, "topic"), text


def _topics(events: Events) -> Iterator[tuple[Place, Topic]]:
    """The topics of the user's, each with its place."""
    yield ("events", "impressions"), events.impressions
    for index, each in enumerate(events.feedback):
        yield ("events", "feedback", index), each


def _feature_findings(parts: Parts) -> Iterator[Finding]:
    yield from twice(("features",), parts.features)
    types = {field.name: field.type for field in parts.valid_fields.values()}
    fields = [field.name for field in parts.fields]
    tables = [table.name for table in parts.tables]
    for index, feature in parts.valid_features.items():
        for position, source in enumerate(feature.sources):
            place = ("sources", position) if feature.kind == "cross" else ("source",)
            if source not in fields:
                text = f"`{source}` is no field of `events.impressions`{nearest(source, fields)}"
                yield ("features", index, *place), text
            elif (found := types.get(source)) is not None and found not in FITTING[feature.kind]:
                wanted = ", ".join(FITTING[feature.kind])
                text = f"`{source}` is of type {found}; a feature of kind {feature.kind} wants one of {wanted}"
                yield ("features", index, *place), text
        if feature.kind == "id" and types.get(feature.source) in {"integer", "list[integer]"}:
            for position, word in enumerate(feature.vocabulary):
                if not _is_key(word):
                    yield ("features", index, "vocabulary", position), f"got `{word}`, wanted an integer of 64 bits"
        if feature.kind != "number" and feature.table not in tables:
            yield ("features", index, "table"), f"`{feature.table}` is no table{nearest(feature.table, tables)}"


def _is_key(word: str) -> bool:
    try:
        return -(2**63) <= int(word) < 2**63 and str(int(word)) == word
    except ValueError:
        return False


def _table_findings(parts: Parts) -> Iterator[Finding]:
    yield from twice(("tables",), parts.tables)
    if not parts.features_complete:
        return
    used = {feature.table for feature in parts.valid_features.values() if feature.kind != "number"}
    for table in parts.tables:
        if table.name not in used:
            yield ("tables", table.index), f"no feature uses table `{table.name}`; leave it out, or add the feature"


def _model_findings(parts: Parts) -> Iterator[Finding]:
    if parts.model is None:
        return
    name = parts.model.name
    labels = 1 if parts.events is None else len(parts.events.feedback)
    yield from table_findings(name, labels, parts.valid_tables)
    if parts.features_complete:
        yield from _sequence_findings(parts, name)
    if name == "din" and parts.features_complete:
        yield from _attention_findings(parts, parts.model)
    if name in {"deepfm", "dlrm"} and not parts.tables and parts.features_complete:
        yield ("model", "name"), f"`{name}` wants at least one feature of kind id with a table; `lr` does without"


def _sequence_findings(parts: Parts, model: str) -> Iterator[Finding]:
    """Sequences for a model that reads one row of each feature."""
    for index, feature in parts.valid_features.items():
        if feature.kind == "id" and feature.combiner == "none" and model in POOLED:
            text = f"model `{model}` reads one row per feature; wanted mean, sum or sqrtn, or model `din`"
            yield ("features", index, "combiner"), text


def _attention_findings(parts: Parts, model: Model) -> Iterator[Finding]:
    """What `din` compares: a feature with one row and a sequence, of one dim."""
    dims = {table.name: table.dim for table in parts.valid_tables.values()}
    found: dict[str, int] = {}
    for setting, sequence, wanted in (("candidate", False, "with one row"), ("history", True, "with combiner none")):
        name = getattr(model, setting)
        fitting = {
            feature.name: feature.table
            for feature in parts.valid_features.values()
            if feature.kind != "number" and (feature.kind == "id" and feature.combiner == "none") == sequence
        }
        if name not in fitting:
            hint = nearest(name, fitting) if name else ""
            yield ("model", setting), f"got `{name}`, wanted a feature {wanted}{hint}"
        elif fitting[name] in dims:
            found[name] = dims[fitting[name]]
    if len(set(found.values())) > 1:
        told = " and ".join(f"`{name}` {dim}" for name, dim in found.items())
        yield ("model", "history"), f"their tables' dims are {told}; wanted one dim, as in one table"


def window_findings(parts: Parts, join: Join) -> Iterator[Finding]:
    """Windows of a kind of feedback that do not fit to each other, its own or those of `join`."""
    for index, feedback in enumerate(parts.events.feedback if parts.events is not None else ()):
        window, correction = join.windows(feedback)
        if correction.ms < window.ms:
            place = ("events", "feedback", index, "correction_window" if feedback.correction_window else "window")
            yield place, f"the correction window is {correction}; wanted at least the window, which is {window}"


def join_findings(join: Join) -> Iterator[Finding]:
    """What does not fit inside ``join``; places are relative to it."""
    if join.correction_window.ms < join.window.ms:
        text = f"got {join.correction_window}, wanted at least `window`, which is {join.window}"
        yield ("correction_window",), text
    if join.labels == "immediate" and join.keep_negatives < 1:
        text = "wanted 1 with `labels: immediate`: there a sample with label 0 says no more than that it was shown"
        yield ("keep_negatives",), text


def format_findings(topic: Topic) -> Iterator[Finding]:
    """What a topic's format lacks, or says in vain; places are relative to it."""
    belongs = {"subject": "avro", "proto": "protobuf", "message": "protobuf", "framed": "protobuf"}
    for name, wanted in belongs.items():
        if getattr(topic, name) and topic.format != wanted:
            yield (name,), f"unused with `format: {topic.format}`; leave it out, or set `format: {wanted}`"
    if topic.format == "protobuf":
        for name, text in (("proto", "a .proto file or a compiled descriptor set"), ("message", "its full name")):
            if getattr(topic, name) is None:
                yield ("format",), f"protobuf wants `{name}`: {text}"


def schema_findings(events: Events, registry: SchemaRegistry | None) -> Iterator[Finding]:
    """Avro without a registry, and a registry that nobody asks."""
    avro = [place for place, topic in _topics(events) if topic.format == "avro"]
    if registry is None:
        for place in avro:
            yield (*place, "format"), "avro wants `schema_registry` with the `url` of one, beside `kafka`"
    elif not avro:
        yield ("schema_registry",), "unused: no topic has `format: avro`; leave it out"


def registry_findings(registry: SchemaRegistry) -> Iterator[Finding]:
    """What does not fit inside ``schema_registry``; places are relative to it."""
    if (registry.username is None) != (registry.password is None):
        present = "username" if registry.password is None else "password"
        yield (present,), "wanted `username` and `password` together, or neither"
    if registry.ca is not None and not registry.url.startswith("https"):
        yield ("ca",), f"unused with {registry.url}; leave it out, or set an https:// url"


def kafka_findings(kafka: Kafka) -> Iterator[Finding]:
    """What does not fit inside ``kafka``; places are relative to it."""
    if kafka.security.startswith("sasl") and kafka.sasl is None:
        yield ("security",), f"{kafka.security} wants `sasl`"
    if not kafka.security.startswith("sasl") and kafka.sasl is not None:
        yield ("sasl",), f"unused while `security` is {kafka.security}; set sasl_ssl or sasl_plaintext, or leave it out"
    if not kafka.security.endswith("ssl") and kafka.tls is not None:
        yield ("tls",), f"unused while `security` is {kafka.security}; set ssl or sasl_ssl, or leave it out"
    if kafka.tls is not None and (kafka.tls.certificate is None) != (kafka.tls.key is None):
        yield ("tls",), "wanted `certificate` and `key` together"


def learner_findings(learner: Learner) -> Iterator[Finding]:
    """What does not fit inside ``learner``; places are relative to it."""
    if learner.heartbeat_interval.ms > LONGEST_HEARTBEAT_MS:
        text = "wanted at most 10s: a learner that is silent for 30s is taken over by another"
        yield ("heartbeat_interval",), f"got {learner.heartbeat_interval}, {text}"


def slice_findings(parts: Parts, slices: Sequence[str]) -> Iterator[Finding]:
    """Which columns quality cannot be told by."""
    fields = {field.name: field.type for field in parts.valid_fields.values()}
    for index, name in enumerate(slices):
        if fields.get(name, "list") not in ("string", "integer", "boolean"):
            wanted = [known for known, kind in fields.items() if kind in ("string", "integer", "boolean")]
            text = f"`{name}` is no column of single values; wanted one of {', '.join(wanted) or 'none'}"
            yield ("learner", "quality_slices", index), text


def store_findings(store: Store) -> Iterator[Finding]:
    """What does not fit inside ``store``; places are relative to it."""
    if (store.access_key is None) != (store.secret_key is None):
        present = "access_key" if store.secret_key is None else "secret_key"
        yield (present,), "wanted `access_key` and `secret_key` together, or neither (environment, instance role)"
    if not store.url.startswith("s3://"):
        for key in ("endpoint", "access_key", "secret_key"):
            if getattr(store, key) is not None:
                yield (key,), f"unused with {store.url}; leave it out, or set an s3:// url"
