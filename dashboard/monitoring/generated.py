"""Names every file that is made from code and makes it anew; run by `make reference`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from dashboard.monitoring.alerts import Limits
from dashboard.monitoring.grafana import grafana
from dashboard.monitoring.reference import reference
from dashboard.monitoring.rules import rules

ROOT: Final = Path(__file__).resolve().parents[2]


def generated() -> dict[str, str]:
    """Path below the root and wanted text of each file."""
    return {
        "dashboard/monitoring/springtide.rules.yaml": rules(Limits()),
        "dashboard/monitoring/springtide.grafana.json": grafana(),
        "docs/metrics.md": reference(),
    }


if __name__ == "__main__":
    for name, text in generated().items():
        (ROOT / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name} written\n")
