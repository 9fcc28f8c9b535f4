"""One HTTP client for what benchmarks ask beside their load; must not know whom they ask."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools

import httpx


@functools.cache
def http() -> httpx.Client:
    """The client. `httpx.get` makes one for each question, which costs 54 ms of the cores that are measured."""
    return httpx.Client(timeout=5, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
