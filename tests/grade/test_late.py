from __future__ import annotations

import pytest

from dlcvgrade.course import LatePolicy
from dlcvgrade.late import late_penalty

DAY = 24 * 60 * 60
POLICY = LatePolicy(percent_per_day=10, days=5)


@pytest.mark.parametrize(
    ("score", "seconds", "penalty"),
    [
        (20, -5, 0),
        (20, 0, 0),
        (20, 1, 2),
        (20, DAY, 2),
        (20, DAY + 1, 4),
        (20, 5 * DAY, 10),
        (20, 5 * DAY + 1, 20),
        (3, 2 * DAY, 3),
        (0, 2 * DAY, 0),
    ],
)
def test_penalty_counts_started_days_of_the_maximum(score, seconds, penalty):
    assert late_penalty(score, 20, seconds, POLICY) == penalty
