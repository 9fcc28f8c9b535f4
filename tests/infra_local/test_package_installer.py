"""uv is pinned by the lock file and led by what pip is told."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

from infra.bootstrap import LOCK
from infra.local.package_installer import locked, translated

TOLD = """\
global.cert='/etc/ssl/ca.pem'
global.index-url='https://packages.example/simple'
install.find-links='/opt/wheels\\n/srv/wheels'
download.index-url='https://other.example/simple'
global.timeout='60'
:env:.index-url='https://own.example/simple'
"""


def test_uv_is_pinned_with_its_hashes() -> None:
    assert re.fullmatch(r"uv==[\d.]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n(    #.*\n)*", locked(LOCK))


def test_a_lock_file_without_it_leaves_the_work_to_pip(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("uvicorn==1.0\n")
    assert locked(lock) == ""


def test_where_pip_looks_uv_looks_too_and_the_environment_wins() -> None:
    assert translated(TOLD) == {
        "SSL_CERT_FILE": "/etc/ssl/ca.pem",
        "UV_DEFAULT_INDEX": "https://own.example/simple",
        "UV_FIND_LINKS": "/opt/wheels,/srv/wheels",
    }
    assert translated("") == {}
