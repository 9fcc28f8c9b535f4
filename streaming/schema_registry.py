"""Asks a schema registry for the schemas of a subject; must not know what is read by them.

The protocol is that of Confluent's REST API, which Apicurio, Karapace and Redpanda speak too.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx

from infra import spec
from infra.errors import Invalid, Unavailable
from infra.secrets import read_secret, reference

MASK: Final = "***"
_TIMEOUT_S: Final = 5.0
_HEADERS: Final = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}


class RegisteredSchema(NamedTuple):
    """The newest schema of a subject; ``references`` are the texts of those that it names, in order of need."""

    subject: str
    version: int
    kind: str
    text: str
    references: tuple[str, ...]


class NumberedSchema(NamedTuple):
    """A schema as messages name it; ``references`` as in :class:`RegisteredSchema`."""

    kind: str
    text: str
    references: tuple[str, ...]


def newest(registry: spec.SchemaRegistry, subject: str) -> RegisteredSchema:
    """The newest schema of ``subject``.

    Raises:
        Unavailable: The registry does not answer.
        Invalid: It refuses the login, or knows no such subject.
    """
    with _asking(registry) as client:
        answer = _get(client, registry, f"subjects/{quote(subject, safe='')}/versions/latest")
        if answer is None:
            raise Invalid(
                f"the schema registry knows no subject `{subject}`",
                cure="register its schema, or name another with `subject`",
                where=registry.url,
            )
        return RegisteredSchema(subject, int(answer["version"]), *_schema(client, registry, answer))


def numbered(registry: spec.SchemaRegistry, number: int) -> NumberedSchema | None:
    """The schema that messages name by ``number``; None where the registry knows none.

    Raises:
        Unavailable: The registry does not answer.
        Invalid: It refuses the login, or what answers is none.
    """
    with _asking(registry) as client:
        answer = _get(client, registry, f"schemas/ids/{number}")
        return None if answer is None else _schema(client, registry, answer)


def authorization(registry: spec.SchemaRegistry, *, reveal: bool) -> str | None:
    """The HTTP header of that name; None where nobody logs in.

    Raises:
        Invalid: A secret cannot be read (only with ``reveal``).
    """
    if registry.username is None or registry.password is None:
        return None
    if not reveal:
        return MASK
    pair = f"{read_secret(registry.username)}:{read_secret(registry.password)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def certificates(registry: spec.SchemaRegistry, *, reveal: bool) -> str | None:
    """The PEM text of the authorities that are trusted; None for the machine's own.

    Raises:
        Invalid: The file cannot be read (only with ``reveal``).
    """
    if registry.ca is None or not reveal:
        return MASK if registry.ca is not None else None
    try:
        return Path(registry.ca).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"schema_registry.ca: cannot be read: {error}", wanted="a PEM file", cure="correct it", where=registry.ca
        ) from None


def _login(registry: spec.SchemaRegistry) -> dict[str, str]:
    header = authorization(registry, reveal=True)
    return {"Authorization": header} if header is not None else {}


def _trust(registry: spec.SchemaRegistry) -> ssl.SSLContext | bool:
    text = certificates(registry, reveal=True)
    if text is None:
        return True
    try:
        return ssl.create_default_context(cadata=text)
    except ssl.SSLError:
        raise Invalid("schema_registry.ca: holds no certificate", wanted="a PEM file", where=str(registry.ca)) from None


@contextmanager
def _asking(registry: spec.SchemaRegistry) -> Iterator[httpx.Client]:
    """A client; what the registry does wrong inside is told in words."""
    try:
        with httpx.Client(
            base_url=registry.url.rstrip("/"),
            headers=_HEADERS | _login(registry),
            verify=_trust(registry),
            timeout=_TIMEOUT_S,
            trust_env=False,
        ) as client:
            yield client
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(
            f"the schema registry does not answer: {reason}",
            cure="start it, or correct `schema_registry.url`",
            where=registry.url,
        ) from None
    except (ValueError, KeyError, TypeError):
        raise Invalid(
            "what answers there is no schema registry", cure="correct `schema_registry.url`", where=registry.url
        ) from None


def _schema(client: httpx.Client, registry: spec.SchemaRegistry, answer: dict[str, Any]) -> NumberedSchema:
    kind = str(answer.get("schemaType", "AVRO"))
    return NumberedSchema(kind, answer["schema"], _referred(client, registry, answer))


def _referred(client: httpx.Client, registry: spec.SchemaRegistry, answer: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for each in answer.get("references") or ():
        inner = _get(client, registry, f"subjects/{quote(each['subject'], safe='')}/versions/{int(each['version'])}")
        if inner is None:
            raise Invalid(f"the schema registry knows no subject `{each['subject']}`", where=registry.url)
        found += [*_referred(client, registry, inner), inner["schema"]]
    return tuple(found)


def _get(client: httpx.Client, registry: spec.SchemaRegistry, path: str) -> dict[str, Any] | None:
    """What stands at ``path``; None for nothing."""
    response = client.get(f"/{path}")
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        login = f"with the password in {reference(registry.password)}" if registry.password is not None else "no login"
        raise Invalid(
            f"the schema registry refuses access ({response.status_code}), {login}",
            cure="set `schema_registry.username` and `password`, or have it granted",
            where=registry.url,
        )
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    if response.status_code != httpx.codes.OK:
        raise Unavailable(f"the schema registry answers {response.status_code}", where=registry.url)
    answer = response.json()
    if not isinstance(answer["schema"], str):
        raise TypeError
    return dict(answer)
