"""The clock of each test of the queue."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
