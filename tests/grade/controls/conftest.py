"""A ground that controls are tried on; what is data here is no module for pytest to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dlcvgrade.attacks.trial import Ground
from dlcvgrade.judge.sandbox import isolation

collect_ignore = ["changes.py"]
COURSE = Path(__file__).parents[1] / "attacks" / "course"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    found = isolation()
    assert found.level == "bubblewrap", f"these tests need the sandbox: {found.why}"
    with Ground(COURSE, tmp_path_factory.mktemp("ground"), found) as ground:
        yield ground
