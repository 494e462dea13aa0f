"""What an account has left is foretold from what it tells; what others spend is left to them."""

from __future__ import annotations

import pytest

from upstream.allowance import YIELD, Account
from upstream.pace import MINUTE
from upstream.rate_headers import Figures


def account_of(*figures: Figures) -> Account:
    """Return an account that has told this at the moments 0, 1, 2 …, each time after a call."""
    account = Account()
    for at, each in enumerate(figures):
        account.spend(1, float(at))
        assert account.told(each, account.spent, float(at))
    return account


# How it counts


def test_the_end_of_a_window_stays_where_it_is() -> None:
    account = account_of(Figures(60, 59, 60.0), Figures(60, 58, 59.0), Figures(60, 57, 58.0))
    assert not account.is_refilled
    assert account.left(59.9) == 57
    assert account.left(60.1) == 60


def test_what_comes_back_bit_by_bit_takes_as_long_as_much_is_gone() -> None:
    account = account_of(Figures(60, 30, 30.0), Figures(60, 30, 30.0), Figures(60, 30, 30.0))
    assert account.is_refilled
    assert account.per_minute == pytest.approx(60)
    assert account.left(12.0) == pytest.approx(40)


def test_a_limit_of_a_day_that_comes_back_bit_by_bit_is_recognised_by_its_second_reply() -> None:
    account = account_of(Figures(200, 199, 432.0), Figures(200, 198, 863.0))
    assert account.is_refilled
    assert account.per_minute == pytest.approx(MINUTE / 432, rel=0.01)


def test_a_limit_that_changes_begins_anew() -> None:
    account = account_of(Figures(60, 30, 30.0), Figures(3000, 2999, 59.0))
    assert (account.limit, account.left(1.0), account.is_refilled) == (3000, 2999, False)


def test_a_limit_that_is_not_told_is_the_most_that_was_left() -> None:
    assert account_of(Figures(None, 40, 30.0)).limit == 40


def test_of_the_ends_that_whole_seconds_tell_of_a_window_the_latest_is_taken() -> None:
    """The server counts down from 10: 8.6 is told as 8 or as 9, and a call at the earlier end would be refused."""
    account = account_of(Figures(60, 59, 10.0), Figures(60, 58, 9.0), Figures(60, 57, 7.0))
    assert account.left(9.9) == 57
    assert account.left(10.1) == 60


def test_of_the_ends_that_fractions_of_seconds_tell_the_last_is_taken() -> None:
    account = account_of(Figures(60, 59, 10.25), Figures(60, 58, 9.1), Figures(60, 57, 8.0))
    assert account.left(10.05) == 60


def test_a_window_in_whole_seconds_is_not_taken_for_another_where_its_last_second_is_told_as_none() -> None:
    account = account_of(Figures(10, 9, 2.0), Figures(10, 8, 1.0), Figures(10, 0, None))
    assert account.left(2.9) == 0
    assert account.left(3.1) == 10
    assert account.per_minute == 60


@pytest.mark.parametrize("figures", [Figures(), Figures(60), Figures(None, None, 7.0)])
def test_figures_without_what_is_left_tell_nothing(figures: Figures) -> None:
    account = Account()
    assert not account.told(figures, 0.0, 0.0)
    assert account.limit == 0


def test_a_reset_of_0_means_less_than_a_second_where_all_is_there_again_then() -> None:
    account = account_of(Figures(20, 19, 0.0), Figures(20, 19, 0.0), Figures(20, 19, 0.0))
    assert not account.is_mute
    assert account.per_minute >= 120


def test_a_reset_of_0_means_nothing_where_less_is_there_each_time() -> None:
    account = account_of(Figures(60, 59, 0.0), Figures(60, 58, 0.0), Figures(60, 57, 0.0))
    assert account.is_mute
    assert account.per_minute == pytest.approx(60)


# Others


def test_what_falls_faster_than_it_is_spent_is_spent_by_others() -> None:
    alone = account_of(*(Figures(600, 599 - at, 60.0 - at) for at in range(30)))
    beside = account_of(*(Figures(600, 599 - 3 * at, 60.0 - at) for at in range(30)))
    assert alone.others == 0
    assert 1.0 < beside.others < 2.1


def test_a_part_of_what_others_spend_is_left_to_them() -> None:
    account = account_of(*(Figures(600, 599 - 3 * at, 60.0 - at) for at in range(30)))
    expected = account.left(29.0) - YIELD * account.others
    assert account.left(30.0) == pytest.approx(expected, rel=0.01)


def test_others_that_are_not_heard_of_any_more_count_less_and_less() -> None:
    account = account_of(*(Figures(600, 599 - 3 * at, 60.0 - at) for at in range(20)))
    first, later = account.left(19.0) - account.left(29.0), account.left(29.0) - account.left(39.0)
    assert 0 < later < first
