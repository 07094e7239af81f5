"""A ground that attacks are tried on; what is data here is no module for pytest to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dlcvgrade.attacks.trial import Ground
from dlcvgrade.judge.sandbox import isolation

collect_ignore = ["course", "changes.py"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    found = isolation()
    assert found.level == "bubblewrap", f"these tests need the sandbox: {found.why}"
    with Ground(Path(__file__).parent / "course", tmp_path_factory.mktemp("ground"), found) as ground:
        yield ground
