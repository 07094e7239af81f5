"""No test, and no notebook that a test runs, writes into the progress of whoever runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("DLCVKIT_STATE")
    os.environ["DLCVKIT_STATE"] = str(tmp_path_factory.mktemp("state"))
    yield
    del os.environ["DLCVKIT_STATE"]
    if before is not None:
        os.environ["DLCVKIT_STATE"] = before
