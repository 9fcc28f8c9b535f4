"""Draws click delays for logs that have none; knows no data set and no clock."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import numpy.typing as npt

# In join windows. Exponential with mean 0.2: 99.3 % of the clicks come inside the window, the rest become
# corrections, so that a replay exercises both roads.
MEAN_DELAY = 0.2
# A click beyond the correction window would be an orphan, which no log without click times can vouch for.
MAX_DELAY = 2.0


def draw_delays(count: int, seed: int = 1) -> npt.NDArray[np.float64]:
    """Delays of ``count`` clicks in join windows, the same for the same seed.

    Args:
        count: How many to draw.
        seed: Seed of the generator.

    Returns:
        float64 ``[count]``, exponential with mean :data:`MEAN_DELAY`, at most :data:`MAX_DELAY`.
    """
    drawn = np.random.default_rng(seed).exponential(MEAN_DELAY, count)
    return np.minimum(drawn, MAX_DELAY)
