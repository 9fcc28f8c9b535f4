"""One HTTP client for what tests ask and await; must not know whom they ask."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

import httpx

# `httpx.get` makes a client for each question, and each client reads every certificate there is: 50 ms of a core.
# Connections are not kept: servers of tests are killed and come back.
HTTP: Final = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
