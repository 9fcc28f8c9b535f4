"""Triton's own client, in an environment of its own since it wants older packages, is answered by a replica."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving import test_grpc as plain
from tests.serving.conftest import Served
from tests.serving.model import FIELDS

ENVIRONMENT = Path(".springtide/tritonclient")
CLIENT = "tritonclient[grpc]==2.48.0"

server = plain.server


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python that has the client; made on first use, 60 MB."""
    python = ENVIRONMENT / "bin" / "python"
    complete = ENVIRONMENT / "complete"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", CLIENT], check=True)
        complete.touch()
    return python


@pytest.mark.long
def test_tritons_client_is_answered(
    python: Path, server: tuple[Any, plain.Client], directly: Served, tmp_path: Path
) -> None:
    columns = plain.full_columns()
    asked = {}
    for name, values in columns.items():
        kind = FIELDS[name].removeprefix("list[").removesuffix("]")
        nested = FIELDS[name].startswith("list")
        flat = [cell for row in values for cell in row] if nested else values
        shape = [len(values), len(values[0])] if nested else [len(values)]
        asked[name] = (plain.DATATYPE[kind], shape, flat)
    file = tmp_path / "question.json"
    file.write_text(json.dumps(asked))
    script = Path(__file__).with_name("tritonclient_asks.py")
    words = [str(python), str(script), str(server[1].port), str(file)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, timeout=60).stdout)
    wanted = directly.model.expected(columns)[:, 0]
    np.testing.assert_allclose(found.pop("click"), wanted, rtol=0, atol=1e-5)
    assert found == {
        "healthy": [True, True, True],
        "server": "springtide",
        "inputs": list(FIELDS),
        "answer": ["seven", "2"],
        "refused": "StatusCode.NOT_FOUND: version 77 is not served; wanted version 2, or none",
    }
