"""Log lines: one object per event, errors whole, libraries in the same form, noise kept out."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from infra.errors import Bug, Unavailable
from infra.logs import configure, logger

ROOT = Path(__file__).resolve().parents[2]


class FixedClock:
    """Always the same moment."""

    def now_ms(self) -> int:
        return 1_700_000_000_123

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError

    def wait(self, event: threading.Event, seconds: float) -> bool:
        raise AssertionError


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the lines go; afterwards logging is as the test runner had it."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.configure(**before)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_room_model_and_time(stream: io.StringIO) -> None:
    log = logger()  # made before configure(), as at the top of a file
    configure("learner", "demo", stream=stream, clock=FixedClock())
    log.info("version_committed", version=7)
    assert lines(stream) == [
        {
            "time": "2023-11-14T22:13:20.123Z",
            "level": "info",
            "room": "learner",
            "model": "demo",
            "event": "version_committed",
            "version": 7,
        }
    ]


def test_an_error_goes_in_whole_and_only_the_unexpected_keeps_its_trace(stream: io.StringIO) -> None:
    configure("join", stream=stream)
    log = logger()
    log.warning("unavailable", error=Unavailable("no broker", cure="start it", where="b:9092"))
    try:
        raise KeyError("x")
    except KeyError as error:
        log.error("status_failed", error=error)
        log.exception("again")
    log.error("impossible", error=Bug("oh"))
    expected, unexpected, again, bug = lines(stream)
    assert (expected["error"], expected["kind"]) == ("b:9092  no broker. Cure: start it", "unavailable")
    assert "trace" not in expected
    assert unexpected["kind"] == "KeyError"
    assert "test_logs.py" in unexpected["trace"] and "test_logs.py" in again["trace"]
    assert "trace" in bug


def test_libraries_speak_in_the_same_form_and_the_noisy_ones_less(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure("replica", "demo", stream=stream)
        logging.getLogger("somewhere.else").info("text %s", "here")
        logging.getLogger("urllib3.connectionpool").info("noise")
        logging.getLogger("httpx").warning("heard")
        warnings.warn("careful", stacklevel=1)
        logging.captureWarnings(False)
    found = lines(stream)
    assert [(line["event"], line["logger"], line["room"]) for line in found] == [
        ("library", "somewhere.else", "replica"),
        ("library", "httpx", "replica"),
        ("library", "py.warnings", "replica"),
    ]
    assert found[0]["text"] == "text here"


def test_the_level_holds_and_a_second_configure_replaces_the_first(stream: io.StringIO) -> None:
    configure("join", stream=stream, level="debug")
    configure("join", stream=stream, level="warning")
    logger().info("quiet")
    logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_a_console_line_is_readable_without_json(stream: io.StringIO) -> None:
    configure("learner", "demo", stream=stream, form="console", clock=FixedClock())
    logger().info("version_committed", version=7)
    assert re.search(r"version_committed .*version=7", stream.getvalue())
    assert "{" not in stream.getvalue()


def test_what_cannot_be_written_as_json_is_written_as_text(stream: io.StringIO) -> None:
    configure("learner", stream=stream)
    logger().info("odd", path=Path("/tmp/x"), text="ä\n\x00")
    assert lines(stream)[0]["path"] == "/tmp/x"
    assert lines(stream)[0]["text"] == "ä\n\x00"
