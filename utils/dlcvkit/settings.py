"""Settings that come from the environment."""

from __future__ import annotations

import os

FAST_VARIABLE = "DLCVKIT_FAST"


def is_fast() -> bool:
    """Return whether demos should take seconds instead of minutes: ``DLCVKIT_FAST`` is set and not 0."""
    return os.environ.get(FAST_VARIABLE, "0") not in {"", "0"}
