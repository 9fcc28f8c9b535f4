"""What each delayed-feedback loss gains over the naive one on a stream of known truth; run by `make bench-losses`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import statistics
import sys
from typing import Literal

from benchmarks.figures import Figure, report
from infra import spec
from tests.learner.delayed import STREAMS, calibration, log_loss, served, train

IMPRESSIONS, SEEDS = 100_000, range(3)
# The stream that each loss is made for.
MADE_FOR: dict[Literal["fnw", "fnc", "es_dfm"], str] = {"fnw": "immediate", "fnc": "immediate", "es_dfm": "early"}


def main() -> int:
    """Trains each loss and the naive one on the same streams; returns the exit code."""
    figures: list[Figure] = []
    for kind, name in MADE_FOR.items():
        errors, gaps = [], []
        for seed in SEEDS:
            stream = STREAMS[name](IMPRESSIONS, seed=seed)
            best = log_loss(stream.test_p, stream)
            naive, own = (served(train(spec.Loss(kind=each), stream), stream) for each in ("log_loss", kind))
            errors.append((abs(calibration(own, stream) - 1), abs(calibration(naive, stream) - 1)))
            gaps.append((log_loss(own, stream) - best) / (log_loss(naive, stream) - best))
        load = f"stream `{name}`, {IMPRESSIONS} impressions, lr, median of {len(SEEDS)} seeds"
        naive_error = statistics.median(naive for _, naive in errors)
        figures += [
            Figure(
                f"{kind}_calibration_error",
                statistics.median(own for own, _ in errors),
                "1",
                naive_error,
                "<=",
                f"the naive loss on the same stream; {load}",
            ),
            Figure(
                f"{kind}_excess_log_loss_over_naive",
                statistics.median(gaps),
                "1",
                1.0,
                "<=",
                f"excess over the true chances, as a share of the naive loss's; {load}",
            ),
        ]
    return report("losses", figures)


if __name__ == "__main__":
    sys.exit(main())
