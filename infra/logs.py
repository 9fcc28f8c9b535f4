"""One line per named event, as JSON or for a console; knows no room's events.

``configure(room, model)`` once per process; ``log = logger()`` at the top of a file; then
``log.info("version_committed", version=7)``: the event is a name in lower case with underscores, never a sentence,
and everything that varies is a field. An error goes in whole, as ``error=error``.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from infra.clock import Clock, SystemClock, iso
from infra.errors import SpringtideError

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["json", "console"]

# Libraries that tell more than anyone asked.
_NOISY: Final = ("urllib3", "minio", "asyncio", "httpx", "httpcore", "uvicorn.access", "py4j", "tensorflow", "absl")

Event = MutableMapping[str, Any]


def logger() -> Any:
    """A logger that follows :func:`configure`, whenever that is called."""
    return structlog.get_logger()


def configure(
    room: str,
    model: str | None = None,
    *,
    level: Level = "info",
    form: Form | None = None,
    stream: TextIO | None = None,
    clock: Clock | None = None,
) -> None:
    """Sets up logging for this process: our events and those of libraries, in one form, on one stream.

    Args:
        room: Which process this is, such as ``learner``.
        model: The pipeline's name, where there is one.
        level: The lowest level shown.
        form: By default ``console`` on a terminal and ``json`` elsewhere.
        stream: By default standard error.
        clock: Where the time comes from.
    """
    target = stream or sys.stderr
    form = form or ("console" if target.isatty() else "json")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _stamped(room, model, clock or SystemClock()),
        _errors_as_fields,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    render = structlog.dev.ConsoleRenderer(colors=target.isatty(), sort_keys=False) if form == "console" else _json()
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _json() -> Any:
    return structlog.processors.JSONRenderer(sort_keys=False, default=str)


def _stamped(room: str, model: str | None, clock: Clock) -> Any:
    def stamp(_: Any, __: str, event: Event) -> Event:
        stamped: dict[str, Any] = {"time": iso(clock.now_ms()), "level": event.pop("level", "info"), "room": room}
        if model is not None:
            stamped["model"] = model
        return {**stamped, **event}

    return stamp


def _errors_as_fields(_: Any, __: str, event: Event) -> Event:
    """Our own errors say enough by themselves; only others keep their trace."""
    error = event.get("error")
    if isinstance(error, BaseException):
        event["error"] = str(error) or type(error).__name__
        event["kind"] = error.kind if isinstance(error, SpringtideError) else type(error).__name__
        if not isinstance(error, SpringtideError) or error.kind == "bug":
            event["trace"] = "".join(traceback.format_exception(error))
    trace = event.pop("exc_info", None)
    if trace:
        found = trace if isinstance(trace, tuple) else sys.exc_info()
        event["trace"] = "".join(traceback.format_exception(*found))
    return event


def _foreign(_: Any, __: str, event: Event) -> Event:
    """A library's line: its text becomes a field, so that `event` stays a name."""
    record = event.get("_record")
    event["text"] = event.get("event", "")
    event["event"] = "library"
    event["logger"] = record.name if isinstance(record, logging.LogRecord) else ""
    return event


# Until a process calls configure(), events go the way of the standard library's: warnings to stderr, all to tests.
structlog.configure(
    processors=[_errors_as_fields, structlog.processors.KeyValueRenderer(key_order=["event"])],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=False,
)
