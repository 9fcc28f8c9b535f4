"""What the decoder makes of single messages, and how values are written, in a JVM of its own; must not know jobs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import os
import random
import subprocess
from pathlib import Path

import orjson
import pytest

from infra.bootstrap import VENV
from infra.clock import iso
from infra.local import jars
from infra.local.java import java_executable, java_tool
from streaming.protobuf_schema import describe
from tests.streaming.encodings import protobuf_encoder
from tests.streaming.registry_server import RegistryServer

pytestmark = pytest.mark.long

# Says on a line what the first column of a message holds, what the registry knows by a number, or what is written.
PROBE = """
package springtide.events;

import java.util.Base64;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.TimestampData;

public final class Probe {
    public static void main(String[] given) throws Exception {
        if (given[0].equals("schema")) {
            SchemaRegistry registry = new SchemaRegistry(given[1], null, null);
            registry.open();
            try {
                System.out.println(registry.schema(Integer.parseInt(given[2])).getName());
            } catch (EventReader.Unreadable no) {
                System.out.println("unreadable");
            }
            return;
        }
        if (given[0].equals("written")) {
            JsonBytes written = new JsonBytes(1);
            written.raw((byte) '[');
            for (int index = 1; index < given.length; index++) {
                if (index > 1) {
                    written.raw((byte) ',');
                }
                String value = given[index].substring(1);
                switch (given[index].charAt(0)) {
                    case 's':
                        written.text(Base64.getDecoder().decode(value));
                        break;
                    case 'i':
                        written.integer(Long.parseLong(value));
                        break;
                    default:
                        written.time(Long.parseLong(value));
                }
            }
            written.raw((byte) ']');
            System.out.println(Base64.getEncoder().encodeToString(written.copy()));
            return;
        }
        if (given[0].equals("neighbours")) {
            Neighbours neighbours = new Neighbours();
            Neighbours.Seen seen = neighbours.createAccumulator();
            StringBuilder told = new StringBuilder();
            for (int at = 1; at < given.length; at++) {
                neighbours.accumulate(seen, TimestampData.fromEpochMillis(Long.parseLong(given[at])));
                RowData row = neighbours.getValue(seen);
                for (int side = 0; side < 2; side++) {
                    told.append(row.isNullAt(side) ? "-" : row.getTimestamp(side, 3).getMillisecond()).append(' ');
                }
            }
            System.out.println(told);
            return;
        }
        if (given[0].equals("event")) {
            Columns columns = new Columns();
            columns.add("value", 0, ColumnType.STRING);
            int key = Integer.parseInt(given[3]);
            EventDecoder decoder = new EventDecoder(new JsonReader(columns), null, 2, key, 1, -1);
            decoder.open(null);
            String value = given[1].repeat(Integer.parseInt(given[2]));
            byte[] message = ("{\\"value\\": \\"" + value + "\\"}").getBytes();
            System.out.println(decoder.deserialize(message).getBoolean(1));
            return;
        }
        Columns columns = new Columns();
        columns.add("value", 0, ColumnType.valueOf(given[1]));
        ProtobufReader reader = new ProtobufReader(columns, given[2], "Sent", false);
        reader.open();
        GenericRowData row = new GenericRowData(1);
        reader.read(Base64.getDecoder().decode(given[3]), row);
        System.out.println(row.getField(0));
    }
}
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path with the probe."""
    folder = tmp_path_factory.mktemp("probe")
    source = folder / "Probe.java"
    source.write_text(PROBE, encoding="utf-8")
    found = [*jars.event_decoder(), *VENV.glob("lib/python*/site-packages/pyflink/lib/*.jar")]
    path = os.pathsep.join(map(str, [folder, *found]))
    subprocess.run([java_tool("javac"), "-d", folder, "-cp", path, source], check=True, timeout=60)
    return path


def probe(libraries: str, *given: str) -> str:
    command = [java_executable(), "-XX:TieredStopAtLevel=1", "-cp", libraries, "springtide.events.Probe", *given]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize(("kind", "column"), [("fixed64", "STRING"), ("uint64", "NUMBER")])
def test_large_unsigned_numbers_of_protobuf_are_not_negative(
    libraries: str, tmp_path: Path, kind: str, column: str
) -> None:
    proto = tmp_path / "sent.proto"
    proto.write_text(f'syntax = "proto3"; message Sent {{ {kind} value = 1; }}', encoding="utf-8")
    descriptors = base64.b64encode(describe(str(proto), "Sent").SerializeToString()).decode()
    body = base64.b64encode(protobuf_encoder(proto, "Sent")({"value": 2**64 - 1})).decode()
    assert float(probe(libraries, "protobuf", column, descriptors, body)) == 2.0**64


def test_a_default_that_does_not_fit_its_type_makes_no_message_unreadable(libraries: str) -> None:
    field = {"name": "count", "type": "int", "default": "none"}
    with RegistryServer() as registry:
        number = registry.register("s", json.dumps({"type": "record", "name": "Lenient", "fields": [field]}))
        assert probe(libraries, "schema", registry.url, str(number)) == "Lenient"


def test_values_are_written_as_json_has_them(libraries: str) -> None:
    texts = ["", "".join(map(chr, range(256))), '\\"', "\u2028\U0001f600", "x" * 5000]
    integers = [0, 9, 10, -1, 2**63 - 1, -(2**63), *(10**power for power in range(19)), *(-(10**18), 99, 101)]
    times = [-1, 0, 1_700_000_000_123, 1_700_006_400_000, 253_402_300_799_999, 86_399_999, 86_400_000]
    given = [f"s{base64.b64encode(text.encode()).decode()}" for text in texts]
    given += [f"i{number}" for number in integers] + [f"t{moment}" for moment in times]
    written = base64.b64decode(probe(libraries, "written", *given))
    assert orjson.loads(written) == [*texts, *integers, *map(iso, times)]


class _BehindProxy(RegistryServer):
    """Its first answers come from a proxy that does not find it yet."""

    def answer(self, path: str, authorization: str | None) -> tuple[int, object]:
        return (404, "no such route") if len(self.asked) < 3 else super().answer(path, authorization)


def test_only_the_registry_itself_says_that_a_schema_is_unknown(libraries: str) -> None:
    with _BehindProxy() as registry:
        number = registry.register("s", json.dumps({"type": "record", "name": "Waited", "fields": []}))
        assert probe(libraries, "schema", registry.url, str(number)) == "Waited"
        assert probe(libraries, "schema", registry.url, "77") == "unreadable"


def test_the_nearest_of_the_times_that_came_before(libraries: str) -> None:
    # More different ones than are kept.
    times = [random.Random(7).randrange(-50, 3000) for _ in range(4000)]
    told = probe(libraries, "neighbours", *map(str, times)).split()
    kept: list[int] = []
    for number, time in enumerate(times):
        again = time in kept or len(kept) == 1000
        below = time if again else max((each for each in kept if each < time), default="-")
        above = min((each for each in kept if each > time), default="-")
        assert told[2 * number : 2 * number + 2] == [str(below), str(above)], number
        if not again:
            kept.append(time)


@pytest.mark.parametrize(
    ("text", "mebibytes", "key", "event"),
    [
        ("\x01", 3, -1, "false"),
        ("\x01", 2, -1, "true"),
        ("x", 12, -1, "true"),
        ("x", 12, 0, "false"),
        ("x", 4, 0, "true"),
    ],
)
def test_an_event_of_which_no_result_could_be_sent_is_none(
    libraries: str, text: str, mebibytes: int, key: int, event: str
) -> None:
    """Every control character becomes six in a sample, its key is sent twice, and 16 MiB are the most that is sent."""
    assert probe(libraries, "event", text, str(mebibytes << 20), str(key)) == event
