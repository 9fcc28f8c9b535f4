"""Typical mistakes in a pipeline.yaml and the exact lines that answer them; knows only the file's door."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import Invalid
from infra.pipeline_file import load_pipeline, parse_pipeline
from tests.infra.pipelines import GOOD, changed

DURATION = "a number with a unit of ms, s, m, h, d, such as `10m`"

# What is replaced, by what, and the lines that answer it.
MISTAKES: list[tuple[str, str, list[str]]] = [
    # Keys.
    ("  window: 10m", "  windw: 10m", ["17:3  join.windw: unknown key; nearest is `window`"]),
    ("join:\n", "jion:\n", ["16:1  jion: unknown key; nearest is `join`"]),
    ("scaling: log", "scalling: log", ["23:48  features.3.scalling: unknown key; nearest is `scaling`"]),
    (
        "dim: 8}\n  - {name: items",
        "dims: 8}\n  - {name: items",
        [
            "25:5  tables.0.dim: missing; wanted an integer",
            "25:19  tables.0.dims: unknown key; nearest is `dim`",
        ],
    ),
    ("model: {", "window: 5m\nmodel: {", ["27:1  window: unknown key; it belongs to `join`"]),
    ("name: demo\n", "", ["1:1  name: missing; wanted text"]),
    ("    topic: shown\n", "", ["5:3  events.impressions.topic: missing; wanted text"]),
    ("    key: id\n    time", "    time", ["5:3  events.impressions.key: missing; wanted text"]),
    ("name: click, ", "", ["15:7  events.feedback.0.name: missing; wanted text"]),
    (
        "  window: 10m\n",
        "  window: 10m\n  window: 20m\n",
        [
            "18:3  join.window: the key stands twice; first in line 17",
        ],
    ),
    # Types and units.
    ("window: 10m\n", "window: 10\n", [f"17:11  join.window: got `10`, wanted {DURATION}"]),
    ("window: 10m\n", "window: ten minutes\n", [f"17:11  join.window: got `ten minutes`, wanted {DURATION}"]),
    ("window: 10m\n", "window:\n", [f"17:3  join.window: got nothing, wanted {DURATION}"]),
    ("window: 10m\n", "window: -5m\n", [f"17:11  join.window: got `-5m`, wanted {DURATION}"]),
    ("window: 10m\n", "window: 0s\n", ["17:11  join.window: got 0s, wanted at least 1ms"]),
    (
        "port: 8600",
        "heartbeat_interval: 11s",
        [
            "28:52  learner.heartbeat_interval: got 11s, wanted at most 10s: "
            "a learner that is silent for 30s is taken over by another",
        ],
    ),
    ("port: 8600", "port: web", ["28:38  learner.port: got `web`, wanted an integer"]),
    ("port: 8600", "port: 86000", ["28:38  learner.port: got `86000`, wanted at most 65535"]),
    ("port: 8600", "port: true", ["28:38  learner.port: got `true`, wanted an integer"]),
    ("port: 8600", "port: 8600.5", ["28:38  learner.port: got `8600.5`, wanted an integer"]),
    ("name: users, dim: 8", "name: users, dim: 0", ["25:24  tables.0.dim: got `0`, wanted at least 1"]),
    ("[64, 32]", "[64, -1]", ["27:36  model.hidden.1: got `-1`, wanted at least 1"]),
    ("[64, 32]", "64", ["27:31  model.hidden: got `64`, wanted a list"]),
    ("topic: shown", "topic: [shown]", ["6:12  events.impressions.topic: got a list, wanted text"]),
    ("topic: shown", "topic: 5", ["6:12  events.impressions.topic: got `5`, wanted text"]),
    (
        "name: demo",
        "name: Demo",
        [
            "1:7  name: got `Demo`, wanted lower-case letters, digits, `_` and `-`, a letter first, at most 63",
        ],
    ),
    (
        "topic: clicks",
        "topic: click/s",
        [
            "15:28  events.feedback.0.topic: got `click/s`, wanted letters, digits, `.`, `_` and `-`, at most 249",
        ],
    ),
    ("join:\n  window: 10m\n  correction_window: 1h\n", "join: 10m\n", ["16:7  join: got `10m`, wanted a mapping"]),
    (
        "type: number}",
        "type: numbr}",
        ["12:29  events.impressions.fields.2.type: got `numbr`; nearest is `number`"],
    ),
    (
        "name: deepfm",
        "name: deepfn",
        ["27:15  model.name: got `deepfn`; nearest is `deepfm`, or `module:function` for a model of your own"],
    ),
    (
        "name: deepfm",
        "name: shop.py:build()",
        ["27:15  model.name: got `shop.py:build()`, wanted `module:function`, such as `shop.models:build`"],
    ),
    ("name: deepfm", "name: wdl, experts: 2", ["27:29  model.experts: unused while `name` is wdl; leave it out"]),
    ("kind: number, ", "kind: numeric, ", ["23:12  features.3.kind: got `numeric`; nearest is `number`"]),
    (
        "combiner: sum",
        "combiner: max",
        [
            "22:56  features.2.combiner: got `max`; known: `sum`, `mean`, `sqrtn`, `none`",
        ],
    ),
    (
        "    - {name: click, topic: clicks, key: id, time: ts}\n",
        "    []\n",
        [
            "15:5  events.feedback: got a list of 0, wanted at least 1 entry",
        ],
    ),
    (
        "combiner: sum",
        "combiner: none",
        [
            "22:56  features.2.combiner: `none` wants `length`, how many ids of a sample stand side by side",
        ],
    ),
    (
        "combiner: sum",
        "combiner: sum, length: 5",
        [
            "22:69  features.2.length: unused while `combiner` is sum; set none, or leave it out",
        ],
    ),
    # What must fit together.
    (
        "source: user",
        "source: usr",
        [
            "20:26  features.0.source: `usr` is no field of `events.impressions`; nearest is `user`",
        ],
    ),
    (
        "table: users",
        "table: user",
        [
            "20:39  features.0.table: `user` is no table; nearest is `users`",
            "25:5  tables.0: no feature uses table `users`; leave it out, or add the feature",
        ],
    ),
    (
        "  - {name: user, source: user, table: users}\n",
        "",
        [
            "24:5  tables.0: no feature uses table `users`; leave it out, or add the feature",
        ],
    ),
    (
        "{name: user, source: user, table: users}",
        "{name: user, source: price, table: users}",
        [
            "20:26  features.0.source: `price` is of type number; a feature of kind id wants one of "
            "string, integer, list[string], list[integer]",
        ],
    ),
    (
        "source: price",
        "source: tags",
        [
            "23:41  features.3.source: `tags` is of type list[string]; a feature of kind number wants one of "
            "integer, number, boolean",
        ],
    ),
    (
        "name: item, source",
        "name: user, source",
        [
            "21:12  features.1.name: `user` is there already; wanted a name of its own",
        ],
    ),
    (
        "{name: tags, type",
        "{name: item, type",
        [
            "13:16  events.impressions.fields.3.name: `item` is there already; wanted a name of its own",
            "22:26  features.2.source: `tags` is no field of `events.impressions`; known: `user`, `item`, `price`",
        ],
    ),
    (
        "      - {name: price",
        "      - {name: label_click}\n      - {name: price",
        [
            "12:16  events.impressions.fields.2.name: `label_click` is a column that Springtide adds; "
            "rename the field where it is produced",
        ],
    ),
    (
        "      - {name: price",
        "      - {name: weight}\n      - {name: price",
        [
            "12:16  events.impressions.fields.2.name: `weight` is a column that Springtide adds; "
            "rename the field where it is produced",
        ],
    ),
    (
        "      - {name: price",
        "      - {name: ts}\n      - {name: price",
        [
            "12:16  events.impressions.fields.2.name: `ts` is the `time` already, and no feature reads it; "
            "leave it out",
        ],
    ),
    ("topic: clicks", "topic: shown", ["15:28  events.feedback.0.topic: `shown` is the impressions' topic already"]),
    (
        "topic: clicks",
        "topic: springtide.demo.late",
        [
            "15:28  events.feedback.0.topic: `springtide.demo.late`: topics that begin with `springtide.` "
            "are Springtide's own",
        ],
    ),
    (
        "name: items, dim: 8",
        "name: items, dim: 4",
        [
            "26:24  tables.1.dim: got 4; model `deepfm` wants the same in all tables, and the first has 8",
        ],
    ),
    (
        "name: deepfm",
        "name: lr",
        [
            "25:24  tables.0.dim: got 8; model `lr` wants 1, a weight per id",
            "26:24  tables.1.dim: got 8; model `lr` wants 1, a weight per id",
        ],
    ),
    (
        "correction_window: 1h",
        "correction_window: 5m",
        [
            "18:22  join.correction_window: got 5m, wanted at least `window`, which is 10m",
        ],
    ),
    # Doors to the outside.
    (
        "  bootstrap: 127.0.0.1:9092\n",
        "  bootstrap: b:9093\n  security: sasl_ssl\n",
        [
            "4:13  kafka.security: sasl_ssl wants `sasl`",
        ],
    ),
    (
        "  bootstrap: 127.0.0.1:9092\n",
        "  bootstrap: b:9093\n  tls: {ca: ca.pem}\n",
        [
            "4:8  kafka.tls: unused while `security` is plaintext; set ssl or sasl_ssl, or leave it out",
        ],
    ),
    (
        "url: s3://bucket/demo",
        "url: gs://bucket/demo",
        [
            "30:8  store.url: got `gs://bucket/demo`, wanted s3://bucket/prefix, file:///folder or memory://name",
        ],
    ),
    (
        "http://127.0.0.1:8333",
        "127.0.0.1:8333",
        [
            "31:13  store.endpoint: got `127.0.0.1:8333`, wanted http://host:port or https://host:port",
        ],
    ),
    (
        "  secret_key: {env: STORE_SECRET_KEY}\n",
        "",
        [
            "32:15  store.access_key: wanted `access_key` and `secret_key` together, or neither "
            "(environment, instance role)",
        ],
    ),
    (
        "{env: STORE_SECRET_KEY}",
        "hunter2",
        [
            "33:15  store.secret_key: wanted a mapping with one of `env`, `file`, `value`",
        ],
    ),
    (
        "{env: STORE_SECRET_KEY}",
        "{env: A, value: hunter2}",
        [
            "33:15  store.secret_key: wanted exactly one of `env`, `file`, `value`",
        ],
    ),
    ("{env: STORE_SECRET_KEY}", "{value: [hunter2]}", ["33:23  store.secret_key.value: wanted text"]),
    # Not YAML.
    ("kafka:\n", "kafka: [\n", ["4:7  not YAML: while parsing a flow sequence expected ',' or ']', but got ':'"]),
    (
        "  bootstrap",
        "\tbootstrap",
        [
            "3:1  not YAML: while scanning for the next token found character '\\t' that cannot start any token",
        ],
    ),
    (
        "name: demo\n",
        "name: demo\n---\n",
        ["2:1  not YAML: expected a single document in the stream but found another document"],
    ),
    ("name: demo", "name: *demo", ["1:7  not YAML: found undefined alias 'demo'"]),
    (
        "name: demo",
        "name: de\x00mo",
        [
            "1:9  not YAML: unacceptable character #x0000: special characters are not allowed",
        ],
    ),
    (
        "name: demo",
        "name: !!python/object:os.system demo",
        [
            "1:7  tag `tag:yaml.org,2002:python/object:os.system` is not allowed; wanted plain YAML",
        ],
    ),
]


def lines(text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse_pipeline(text)
    found = str(caught.value).splitlines()
    assert all(line.startswith("pipeline.yaml:") for line in found)
    return [line.removeprefix("pipeline.yaml:") for line in found]


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES, ids=[f"{new!r}" for _, new, _ in MISTAKES])
def test_a_mistake_is_answered_by_exactly_these_lines(old: str, new: str, expected: list[str]) -> None:
    assert lines(changed(old, new)) == expected


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace("window: 10m\n", "windw: 10\n").replace("source: user", "source: usr").replace("8600", "web")
    assert lines(text) == [
        "17:3  join.windw: unknown key; nearest is `window`",
        "20:26  features.0.source: `usr` is no field of `events.impressions`; nearest is `user`",
        "28:38  learner.port: got `web`, wanted an integer",
    ]


def test_secrets_never_show() -> None:
    for new in ("hunter2", "{value: [hunter2]}", "{env: A, value: hunter2}", "{valu: hunter2}", "[hunter2]"):
        assert "hunter2" not in "".join(lines(changed("{env: STORE_SECRET_KEY}", new)))


@pytest.mark.parametrize("text", ["", "   \n", "# nothing yet\n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=r"pipeline\.yaml  the file is empty\. Cure: .*springtide init"):
        load_pipeline(file)


@pytest.mark.parametrize("text", ["just words", "- a\n- b\n", "5"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert lines(text) == ["1:1  wanted a mapping: `name: ...`, `kafka: ...`, and so on"]


def test_aliases_that_unfold_without_end_are_refused() -> None:
    levels = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    expected = ["1:1  unfolds without end or to far too much; wanted no such aliases"]
    assert lines("\n".join(levels)) == expected
    assert lines("a: &a [*a]") == expected


def test_a_file_that_cannot_be_read_names_its_cure(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"absent\.yaml  no such file\. Cure: "):
        load_pipeline(tmp_path / "absent.yaml")
    with pytest.raises(Invalid, match="is a folder"):
        load_pipeline(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(Invalid, match="not UTF-8 text"):
        load_pipeline(tmp_path / "latin.yaml")
