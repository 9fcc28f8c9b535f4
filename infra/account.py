"""By what name this process's user is known; must not know what he asks for."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import getpass
import os


def account() -> str:
    """The user's name; in a container, whose user often has none, his number as ``uid-10001``."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of Python 3.11 and of later ones
        return f"uid-{os.getuid()}"
