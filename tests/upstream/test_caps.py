"""Each refusal lowers a cap, by the figure that it names or by half; what was guessed rises again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.capacity import UNLIMITED_BYTES
from batching.clock import NEVER
from upstream.caps import FEW_BYTES, QUIET, UNLIMITED, Caps, is_believable
from upstream.dialects.dialect import SizeLimit


def items(most: int | None = None) -> SizeLimit:
    return SizeLimit(of_items=True, most_items=most)


def tokens(most: int | None = None, had: int | None = None) -> SizeLimit:
    return SizeLimit(of_items=False, most_tokens=most, had_tokens=had)


@pytest.mark.parametrize(
    ("count", "said", "most"),
    [
        (33, items(32), 32),
        (100, items(1), 1),
        (32, items(32), 31),  # "less than 32"
        (32, items(33), 16),  # it was refused all the same
        (32, items(), 16),
        (33, items(), 17),
        (3, items(), 2),
        (2, items(), 1),
    ],
)
def test_items_fall_to_the_figure_or_to_half(count: int, said: SizeLimit, most: int) -> None:
    assert Caps().refused(count, 1000, said, 0.0).items == most


@pytest.mark.parametrize(
    ("size", "said", "most"),
    [
        (FEW_BYTES, tokens(), FEW_BYTES // 2),
        (5001, tokens(), 2500),
        (1000, tokens(400, 500), 760),  # the share, less a margin
        (1000, tokens(500, 500), 950),
        (1000, tokens(1, 10_000_000), 1),
        (1000, tokens(100), 400),  # four bytes a token
        (1000, tokens(250), 500),  # which would be no less than there were
    ],
)
def test_bytes_fall_to_the_share_of_the_tokens_or_to_half(size: int, said: SizeLimit, most: int) -> None:
    assert Caps().refused(2, size, said, 0.0).size == most


@given(
    st.lists(st.tuples(st.booleans(), st.none() | st.integers(1, 3000), st.none() | st.integers(1, 3000)), max_size=40)
)
def test_a_call_as_large_as_one_that_was_refused_never_fits_again(
    refusals: list[tuple[bool, int | None, int | None]],
) -> None:
    """Whatever the words say: so refusals end, at one item at latest."""
    caps = Caps()
    for of_items, most, had in refusals:
        count, size = min(caps.items, 32), min(caps.size, 5000)
        if count < 2 or size < 2:
            break
        caps = caps.refused(count, size, SizeLimit(of_items, most, most, had), 0.0)
        by_items = of_items or (most is None and size < FEW_BYTES)
        assert 1 <= caps.items < count if by_items else 1 <= caps.size < size


@pytest.mark.parametrize("size", [20, FEW_BYTES - 1])
def test_so_few_bytes_cannot_be_what_was_too_large_so_the_items_are_halved(size: int) -> None:
    caps = Caps().refused(20, size, tokens(), 0.0)
    assert (caps.items, caps.is_guess, caps.size) == (10, True, UNLIMITED_BYTES)


def test_a_refusal_of_a_call_that_left_before_the_cap_fell_changes_nothing() -> None:
    caps = Caps().refused(32, 1000, items(), 0.0)
    assert caps.refused(32, 1000, items(), 0.0) == caps
    caps = Caps().refused(32, 1000, tokens(), 0.0)
    assert caps.refused(32, 1000, tokens(), 0.0) == caps


def test_a_figure_that_is_named_holds() -> None:
    caps = Caps().refused(33, 1000, items(8), 0.0)
    assert caps.rises_at == NEVER
    assert caps.risen(1e9, 32, 10_000) == caps


def test_a_guess_doubles_after_each_quiet_minute_until_it_bounds_nothing() -> None:
    caps = Caps().refused(32, 40_000, items(), 0.0).refused(8, 8000, tokens(), 0.0).refused(8, 4000, items(), 5.0)
    assert (caps.items, caps.size, caps.rises_at) == (4, 4000, 5.0 + QUIET)
    seen = []
    while caps.rises_at != NEVER:
        assert caps.risen(caps.rises_at - 0.001, 32, 20_000) == caps
        caps = caps.risen(caps.rises_at, 32, 20_000)
        seen.append((caps.items, caps.size))
    assert seen == [(8, 8000), (16, 16_000), (UNLIMITED, UNLIMITED_BYTES)]


def test_a_figure_takes_the_place_of_a_guess() -> None:
    caps = Caps().refused(32, 1000, items(), 0.0).refused(16, 500, items(10), 1.0)
    assert (caps.items, caps.is_guess, caps.rises_at) == (10, False, NEVER)


@pytest.mark.parametrize(
    ("said", "believable"),
    [
        (items(), True),
        (items(32), True),
        (items(33), False),  # so many were not there
        (tokens(), True),
        (tokens(500), True),
        (tokens(500, 500), True),
        (tokens(501, 500), False),
    ],
)
def test_a_limit_that_the_call_was_within_is_not_why_it_was_refused(said: SizeLimit, believable: bool) -> None:
    assert is_believable(32, said) is believable
