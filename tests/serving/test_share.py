"""How much of one core's time some kind of work may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.share import Share

if TYPE_CHECKING:
    from tests.serving.conftest import Clock


def test_work_may_be_done_until_what_was_saved_is_spent(clock: Clock) -> None:
    share = Share(0.1, 1.0, clock)
    share.pay(0.9)
    assert share.wait() == 0
    share.pay(0.2)
    assert share.wait() == pytest.approx(1.0, abs=0.01)


def test_after_that_wait_it_may_be_done_again(clock: Clock) -> None:
    share = Share(0.1, 1.0, clock)
    share.pay(3.0)
    clock.now += share.wait()
    assert share.wait() == 0


def test_no_more_is_saved_than_the_bound(clock: Clock) -> None:
    share = Share(0.5, 1.0, clock)
    clock.now += 1000
    share.wait()
    share.pay(1.5)
    assert share.wait() == pytest.approx(1.0, abs=0.01)


def test_over_a_long_time_work_takes_its_share(clock: Clock) -> None:
    share, worked, end = Share(0.1, 0.5, clock), 0.0, clock.now + 100
    while clock.now < end:
        clock.now += share.wait()
        share.pay(0.02)
        worked += 0.02
    assert worked == pytest.approx(10.0, rel=0.1)
