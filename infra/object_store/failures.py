"""Sorts what the store's client raises into our kinds of error; must never quote a secret or a reply's body."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from typing import Final

from infra.errors import Invalid, SpringtideError, Unavailable

_CODE = re.compile(r"(?:<Code>|\(code: )([A-Za-z0-9]+)[<)]")
_EXPIRED = re.compile(r"InvalidCertificate\(\s*Expired")
_STATUS = re.compile(r"status code: ([0-9]{3})")

# What the store's own code or the status tells, and what to do about it.
_CURES: Final[dict[str, tuple[str, str]]] = {
    "SignatureDoesNotMatch": ("the secret key does not fit the access key", "check `store.secret_key`"),
    "InvalidAccessKeyId": ("the access key is unknown to the store", "check `store.access_key`"),
    "AccessDenied": ("access is denied", "grant this access key read, write, list and delete below the prefix"),
    "InvalidBucketName": ("the bucket's name is not valid", "correct `store.url`"),
    "PermanentRedirect": ("the bucket is in another region", "correct `store.region` or `store.endpoint`"),
    "AuthorizationHeaderMalformed": ("the request was signed for a wrong region", "correct `store.region`"),
    "RequestTimeTooSkewed": ("this machine's clock is off", "synchronise the clock"),
    "ExpiredToken": ("the credentials have expired", "renew them"),
    "InvalidToken": ("the session token is not valid", "renew the credentials"),
    "NotImplemented": ("the store does not implement this request", "use a store with conditional writes"),
}
# What may be made while a process waits for it, as a topic may: its pod must not end for it.
_MAY_COME: Final[dict[str, tuple[str, str]]] = {
    "NoSuchBucket": ("the bucket does not exist", "create the bucket, or correct `store.url`"),
}
_EXPIRED_CURE = ("has expired", "renew it, or correct this machine's clock")
_UNKNOWN_CURE = ("is not trusted", "trust its authority on this machine")
_REFUSED = ("the store refuses these credentials", "check `store.access_key` and `store.secret_key`, and their rights")

# What a connection error looks like inside, the telling part first.
_CONNECTION: Final[tuple[tuple[str, str], ...]] = (
    ("Connection refused", "nothing listens there"),
    ("dns error", "the host name is unknown"),
    ("TimedOut", "no answer in time"),
    ("timed out", "no answer in time"),
    ("Connection reset", "the connection was reset"),
    ("unreachable", "the network is unreachable"),
    ("IncompleteMessage", "the connection was closed before the answer"),
)


def translated(error: Exception, url: str, doing: str) -> SpringtideError:
    """``error`` of the client library as one of our kinds.

    Args:
        error: Anything but an absent or a taken key.
        url: The store's address, for the message.
        doing: The request, such as ``get manifests/1.json``.
    """
    text = str(error)
    code = next(iter(_CODE.findall(text)), "")
    status = int(next(iter(_STATUS.findall(text)), "0"))
    what = f"object store: {doing} failed"
    if code in _MAY_COME:
        return Unavailable(f"{what}: {_MAY_COME[code][0]} ({code})", cure=_MAY_COME[code][1], where=url)
    if code in _CURES or status in {301, 307, 401, 403}:
        reason, cure = _CURES.get(code, _CURES["PermanentRedirect"] if status in {301, 307} else _REFUSED)
        return Invalid(f"{what}: {reason} ({code or status})", cure=cure, where=url)
    if 400 <= status < 500 and status not in {408, 409, 412, 425, 429}:
        return Invalid(f"{what}: the store answers {status} {code}".rstrip(), cure="check `store`", where=url)
    if status:
        return Unavailable(f"{what}: the store answers {status} {code}".rstrip(), cure="wait, or look there", where=url)
    return _without_answer(text, what, url, error)


def _without_answer(text: str, what: str, url: str, error: Exception) -> SpringtideError:
    if "InvalidContentType" in text:
        return Invalid(f"{what}: no TLS there", cure="write http:// in `store.endpoint`", where=url)
    if "InvalidCertificate" in text or "UnknownIssuer" in text:
        reason, cure = _EXPIRED_CURE if _EXPIRED.search(text) else _UNKNOWN_CURE
        return Invalid(f"{what}: its certificate {reason}", cure=cure, where=url)
    if isinstance(error, PermissionError) or "PermissionDenied" in text:
        return Invalid(f"{what}: the file system denies it", cure="let this process write there", where=url)
    if "os error 20)" in text or "os error 21)" in text or "NotADirectory" in text or "IsADirectory" in text:
        return Invalid(f"{what}: a folder and a file want the same name", cure="use an empty folder", where=url)
    if "StorageFull" in text or "os error 28" in text:
        return Unavailable(f"{what}: the disk is full", cure="free space", where=url)
    reason = next((reason for sign, reason in _CONNECTION if sign in text), type(error).__name__)
    return Unavailable(f"{what}: {reason}", cure="start the store, or correct `store.endpoint`", where=url)
