"""An object store of the person who runs the tests, where the environment names one; none of this project's own.

``SPRINGTIDE_TEST_STORE=s3://bucket/prefix``, with ``SPRINGTIDE_TEST_ENDPOINT=https://…`` unless it is Amazon's, and the
credentials as AWS's own tools read them: what the stores must do and the whole protocol is asked of it, too.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

from infra.spec import Store

URL = os.environ.get("SPRINGTIDE_TEST_STORE", "").rstrip("/")


def elsewhere(name: str) -> Store:
    """A part of that store that nobody else uses."""
    return Store(url=f"{URL}/{name}", endpoint=os.environ.get("SPRINGTIDE_TEST_ENDPOINT"))
