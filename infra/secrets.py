"""Reads a secret from where the pipeline says it is; must never put its value into a message."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

from infra.errors import Invalid
from infra.spec import Secret


def reference(secret: Secret) -> str:
    """How a message may speak of ``secret``: where it stands, never what it is."""
    if secret.env is not None:
        return f"environment variable `{secret.env}`"
    if secret.file is not None:
        return f"file `{secret.file}`"
    return "the value in the pipeline"


def read_secret(secret: Secret) -> str:
    """The secret's value, without the line end that editors and mounted files add.

    Raises:
        Invalid: The variable or file is absent, unreadable or empty.
    """
    if secret.value is not None:
        value = secret.value
    elif secret.env is not None:
        if secret.env not in os.environ:
            raise Invalid(f"{reference(secret)} is not set", cure=f"export {secret.env}, or point the secret elsewhere")
        value = os.environ[secret.env]
    else:
        value = _read_file(secret)
    value = value.rstrip("\r\n")
    if not value:
        raise Invalid(f"{reference(secret)} is empty", wanted="a secret", cure="fill it")
    return value


def _read_file(secret: Secret) -> str:
    path = Path(str(secret.file)).expanduser()
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise Invalid(f"{reference(secret)} does not exist", cure="create it, or mount the secret there") from None
    except OSError as error:
        raise Invalid(
            f"{reference(secret)} cannot be read: {error.strerror}", cure="let this process read it"
        ) from None
    except UnicodeDecodeError:
        raise Invalid(f"{reference(secret)} is not UTF-8 text", wanted="the secret as text") from None
