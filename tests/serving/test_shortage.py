"""What a worker does while the system lets no further thread start."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING

from serving.shortage import SHORTAGE, Shortage

if TYPE_CHECKING:
    import pytest

    from tests.serving.conftest import Clock


class FakeAttendant:
    def __init__(self) -> None:
        self.idle_limit = 64

    def release(self, idle_limit: int) -> None:
        self.idle_limit = idle_limit


def short(clock: Clock) -> tuple[Shortage, SimpleNamespace, FakeAttendant]:
    intake, attendant = SimpleNamespace(most_requests=512), FakeAttendant()
    log = logging.getLogger("shortage")
    return Shortage(intake, attendant, log, threads=592, idle_limit=64, clock=clock), intake, attendant  # type: ignore[arg-type]


def test_no_more_is_taken_in_than_the_threads_can_serve_and_none_waits_for_a_client(clock: Clock) -> None:
    shortage, intake, attendant = short(clock)
    shortage.begin(20)
    assert (intake.most_requests, attendant.idle_limit, shortage.threads) == (2 * 20, 0, 20)


def test_something_is_taken_in_however_few_threads_there_are(clock: Clock) -> None:
    shortage, intake, _ = short(clock)
    shortage.begin(0)
    assert intake.most_requests == 1


def test_after_a_while_it_is_tried_again(clock: Clock) -> None:
    shortage, intake, attendant = short(clock)
    shortage.begin(20)
    clock.now += SHORTAGE / 2
    shortage.begin(21)
    clock.now += SHORTAGE - 0.001
    shortage.end_if_over()
    assert intake.most_requests == 2 * 21
    clock.now += 0.001
    shortage.end_if_over()
    assert (intake.most_requests, attendant.idle_limit, shortage.threads) == (512, 64, 592)


def test_it_is_told_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    shortage, _, _ = short(clock)
    for _ in range(3):
        shortage.begin(20)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "requests wait for the 20 of this worker" in record.getMessage()
