"""What went wrong with a request as an HTTP status and a sentence to act on; knows no protocol and no model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

from infra.errors import Bug, Invalid, SpringtideError, Unavailable
from infra.logs import logger

BAD_REQUEST = 400
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
TOO_LARGE = 413
WRONG_MEDIA_TYPE = 415
UNPROCESSABLE = 422
TOO_MANY = 429
SERVER_ERROR = 500
NOT_READY = 503
DEADLINE_PASSED = 504

INTERNAL = "internal error; see the replica's log"

# Of a message's sixty characters, this many are the most that entries can fill.
_ENTRIES = 30
# Longer than any limit, so that what is cut is cut at the end.
_TEXT = 1000
_SHORT = reprlib.Repr()
_log = logger()
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = _ENTRIES
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = _TEXT


class Refused(Invalid):
    """The request cannot be answered; ``status`` is the HTTP status that says why."""

    def __init__(self, what: str, *, status: int = BAD_REQUEST, wanted: str = "", cure: str = "") -> None:
        super().__init__(what, wanted=wanted, cure=cure)
        self.status = status


def outcome_of(error: Exception, asked: str) -> tuple[int, str]:
    """Status and message of what went wrong; what is of our own making is logged and not told.

    Args:
        error: What was raised.
        asked: What the request asked for, for the log.
    """
    if isinstance(error, Refused):
        return error.status, str(error)
    if isinstance(error, Unavailable):
        return NOT_READY, str(error)
    if isinstance(error, Invalid):
        return BAD_REQUEST, str(error)
    known = isinstance(error, SpringtideError) and not isinstance(error, Bug)
    _log.error("request_failed", path=asked, error=str(error) if known else error)
    return SERVER_ERROR, INTERNAL


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like ``name`` as a hint, or an empty string where none is near."""
    found = difflib.get_close_matches(name[:80], list(known), n=1)
    return f"; nearest is `{found[0]}`" if found else ""


def shown(value: object, limit: int = 60) -> str:
    """``value`` as it may stand in a message: short, on one line, printable; a deep or long one is not gone through."""
    text = _SHORT.repr(value).encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= limit else text[: limit - 3] + "..."
