"""Bytes, puts and speed of versions against what they move; run by `make bench-versions`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import versions_bytes, versions_quality, versions_speed, versions_training
from benchmarks.figures import Figure, report
from infra.local.s3_server import S3Server
from infra.object_store import open_store
from infra.spec import Secret, Store

PARTS = ["bytes", "training", "restore", "checkpoint", "quality", "simulation"]


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the table that is restored")
    parser.add_argument("--schedules", type=int, default=2_000, help="schedules of the protocol to simulate")
    parser.add_argument("--seeds", type=int, default=10, help="trainings for the cost of int8")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="the others are left out")
    arguments = parser.parse_args()
    parts = set(arguments.parts)
    figures: list[Figure] = [*versions_bytes.figures()] if "bytes" in parts else []
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        server = S3Server(Path(folder) / "s3", Path(folder) / "logs")
        server.start()
        try:
            store = open_store(
                Store(
                    url=f"s3://{server.bucket}/versions",
                    endpoint=server.endpoint,
                    region=server.region,
                    access_key=Secret(value=server.access_key),
                    secret_key=Secret(value=server.secret_key),
                )
            )
            if "training" in parts:
                figures += versions_training.training_during_commits(store, server.process.pid)
            if "restore" in parts:
                figures += versions_speed.restore_against_download(store, arguments.rows)
        finally:
            server.stop()
        if "checkpoint" in parts:
            figures += versions_speed.commit_against_checkpoint(Path(folder), arguments.rows)
    if "quality" in parts:
        figures += versions_quality.figures(arguments.seeds)
    if "simulation" in parts:
        figures.append(versions_speed.simulation(arguments.schedules))
    return report("versions", figures)


if __name__ == "__main__":
    sys.exit(main())
