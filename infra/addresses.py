"""Finds every address that stands behind a URL's name; must not know what listens there."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

Resolve = Callable[[str, int], Iterable[tuple[Any, ...]]]

_PORTS: Final = {"http": 80, "https": 443}


def asked(host: str, port: int) -> Iterable[tuple[Any, ...]]:
    """What the name service of this machine answers; raises ``socket.gaierror``, an OSError."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def addresses_of(url: str, resolve: Resolve = asked) -> tuple[str | None, ...]:
    """The IP addresses of one family behind the host of ``url``, ascending, where its name stands for many.

    A headless service of Kubernetes names every pod so. Where the host is an address, or a name with one address of a
    family, nothing is to be chosen: None alone stands for "wherever the URL leads".

    Args:
        url: A base address.
        resolve: Asks the name service, as ``socket.getaddrinfo`` does.

    Raises:
        OSError: The name is unknown, or the name service does not answer.
    """
    if not has_name(url):
        return (None,)
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or _PORTS.get(parts.scheme, 0)
    found: dict[int, set[str]] = {}
    for family, _, _, _, place in resolve(host, port):
        found.setdefault(int(family), set()).add(str(place[0]))
    # The order is that of preference: of a pod with two addresses the first family counts, lest it be asked twice.
    many = next((addresses for addresses in found.values() if len(addresses) > 1), None)
    if many is None:
        return (None,)
    return tuple(sorted(many, key=lambda address: int(ipaddress.ip_address(address.partition("%")[0]))))


def with_address(url: str, address: str | None) -> str:
    """``url`` with ``address`` in the place of its host's name; itself where there is none."""
    if address is None:
        return url
    parts = urlsplit(url)
    host = f"[{address}]" if ":" in address else address
    return parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()


def has_name(url: str) -> bool:
    """Whether the host of ``url`` is a name; one that leads nowhere has none, which who goes there finds out."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return bool(host)
    return False
