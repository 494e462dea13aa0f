"""Which items make the next batch, as tables: (calls, bounds) -> (parts, calls passed over). No queue, no clock."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching import Call
from batching.errors import ClientGone, ProxyError
from batching.queue.composition import Bounds, Composition, compose
from tests.support.fakes import KEY

ROOMY = Bounds(100, 10_000)
GONE = ClientGone("gone")


def call_of(items: str) -> Call:
    """Return a call of these words; ``!`` marks a suspect, and what stands before a ``/`` has been taken already.

    ``-`` before them says that the call has ended, ``?`` that its client has gone.
    """
    words = items.lstrip("-?").split()
    taken = words.index("/") if "/" in words else 0
    call = Call([word.encode() for word in words if word != "/"], KEY, 1e9)
    call.suspects = frozenset(at for at, item in enumerate(call.items) if item.endswith(b"!"))
    call.taken = taken
    call.done = items.startswith("-")
    call.is_gone = lambda: items.startswith("?")
    return call


def loss_of(call: Call) -> ProxyError | None:
    return GONE if call.is_gone is not None and call.is_gone() else None


def composed(calls: list[str], bounds: Bounds = ROOMY) -> Composition:
    return compose([call_of(each) for each in calls], bounds, loss_of)


def words_of(composition: Composition) -> str:
    """Return the items of each part, the parts set apart by ``|``."""
    return " | ".join(b" ".join(part.call.items[part.start : part.stop]).decode() for part in composition.parts)


# What fits


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([], ""),
        (["a"], "a"),
        (["a b", "c"], "a b | c"),
        (["a b c"], "a b c"),
        (["a b", "c d", "e"], "a b | c"),
        (["a b c d"], "a b c"),
        (["a b c", "d"], "a b c"),
        (["a b / c d", "e f"], "c d | e"),
        (["a b c / d"], "d"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_a_batch_holds_at_most_the_items_allowed(calls: list[str], expected: str) -> None:
    assert words_of(composed(calls, Bounds(3, 10_000))) == expected


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (["aaa bbb"], "aaa bbb"),  # 6 of 7 bytes
        (["aaa bbbb"], "aaa bbbb"),  # 7
        (["aaa bbbbb"], "aaa"),  # 8
        (["aaa", "bbbb"], "aaa | bbbb"),
        (["aaa", "bbbbb"], "aaa"),
        (["aaa bbb", "c d"], "aaa bbb | c"),
        (["aaa bbbb", "c"], "aaa bbbb"),
        (["aaa", "bb ccc d"], "aaa | bb"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_a_batch_holds_at_most_the_bytes_allowed(calls: list[str], expected: str) -> None:
    assert words_of(composed(calls, Bounds(100, 7))) == expected


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (["aaaaaaaaaa"], "aaaaaaaaaa"),
        (["aaaaaaaaaa b"], "aaaaaaaaaa"),
        (["aaaaaaaaaa", "b"], "aaaaaaaaaa"),
        (["a bbbbbbbbbb c"], "a"),
        (["a / bbbbbbbbbb c"], "bbbbbbbbbb"),
        (["a", "bbbbbbbbbb", "c"], "a"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_an_item_too_large_for_any_batch_travels_by_itself(calls: list[str], expected: str) -> None:
    assert words_of(composed(calls, Bounds(100, 7))) == expected


@pytest.mark.parametrize(
    ("calls", "padded", "expected"),
    [
        (["aaa bbb ccc"], 9, "aaa bbb ccc"),
        (["aaa bbb ccc"], 8, "aaa bbb"),
        (["a b ccc"], 9, "a b ccc"),  # each counts as much as the longest
        (["a b ccc"], 8, "a b"),
        (["a", "b", "ccc"], 8, "a | b"),
        (["ccc", "a", "b"], 9, "ccc | a | b"),
        (["ccc", "a", "b"], 8, "ccc | a"),
        (["ccc a b"], 8, "ccc a"),
        (["aaaaa", "b"], 4, "aaaaa"),  # too large for any batch
        (["a", "bb", "ccc d"], 11, "a | bb | ccc"),
        (["a", "bb", "ccc d"], 12, "a | bb | ccc d"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_a_padded_batch_counts_each_item_as_the_longest(calls: list[str], padded: int, expected: str) -> None:
    assert words_of(composed(calls, Bounds(100, 10_000, padded))) == expected


@pytest.mark.parametrize(
    "bounds", [Bounds(2, 10_000), Bounds(100, 7), Bounds(100, 10_000, 10)], ids=["items", "bytes", "padded bytes"]
)
def test_a_call_that_does_not_fit_ends_the_batch_though_a_smaller_one_stands_behind_it(bounds: Bounds) -> None:
    assert words_of(composed(["a", "bbbbbb cc", "d"], bounds)) in {"a", "a | bbbbbb"}


def test_the_bytes_of_the_batch_are_those_of_its_items() -> None:
    assert composed(["a bb", "cccc", "ddddd"], Bounds(100, 8)).size == 7
    assert composed(["aaaaaaaaaa"], Bounds(100, 8)).size == 10
    assert composed([]) == Composition([], [], 0, False, [], [], [])


# Calls that need no answer


@pytest.mark.parametrize(
    ("calls", "expected", "lost"),
    [
        (["?a", "b"], "b", ["?a"]),
        (["a", "?b", "c"], "a | c", ["?b"]),
        (["?a", "?b"], "", ["?a", "?b"]),
        (["-a", "b", "-c"], "b", []),
        (["a", "b", "?c"], "a | b", []),  # behind a full batch no call is looked at
        (["a", "?b", "?c", "d", "?e"], "a | d", ["?b", "?c"]),
        (["?a!", "b"], "b", ["?a!"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_calls_that_need_no_answer_are_passed_over_and_reported(
    calls: list[str], expected: str, lost: list[str]
) -> None:
    composition = composed(calls, Bounds(2, 10_000))
    assert words_of(composition) == expected
    assert [(call.items, error) for call, error in composition.lost] == [(call_of(each).items, GONE) for each in lost]


# Suspects


@pytest.mark.parametrize(
    ("calls", "expected", "is_suspect"),
    [
        (["a!"], "a!", True),
        (["a! b"], "a!", True),
        (["a!", "b"], "a!", True),
        (["a! b!", "c"], "a!", True),
        (["a! / b! c"], "b!", True),
        (["a b!"], "a", False),
        (["a b! c"], "a", False),
        (["a b! c", "d"], "a | d", False),  # the items of others fill the batch up
        (["a", "b!", "c"], "a | c", False),
        (["a", "b! c", "d"], "a | d", False),  # with a suspect the rest of its call waits
        (["a", "b c! d", "e"], "a | b | e", False),
        (["a", "b!", "c!", "d e! f", "g"], "a | d | g", False),
        (["a b! / c d", "e"], "c d | e", False),
        (["?a", "b!", "c"], "b!", True),
        (["-a", "b!", "c"], "b!", True),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_a_suspect_travels_by_itself_and_keeps_no_other_call_out(
    calls: list[str], expected: str, is_suspect: bool
) -> None:
    composition = composed(calls)
    assert (words_of(composition), composition.is_suspect) == (expected, is_suspect)
    assert composition.size == len(expected.replace(" ", "").replace("|", ""))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (["a", "b c", "d! e", "f"], "a | b c | f"),
        (["a", "b c d!", "e f"], "a | b c | e"),
        (["a", "b c d e!", "f"], "a | b c d"),
        (["a b c d e!", "f"], "a b c d"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_beside_a_suspect_a_batch_is_filled_to_the_last_place(calls: list[str], expected: str) -> None:
    assert words_of(composed(calls, Bounds(4, 10_000))) == expected


def test_a_suspect_too_large_for_any_batch_travels_like_any_other() -> None:
    composition = composed(["aaaaaaaaaa! b"], Bounds(2, 3, 3))
    assert (words_of(composition), composition.size, composition.is_suspect) == ("aaaaaaaaaa!", 11, True)


# What always holds

CALLS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "bb", "cccc", "d!", "eeeeeeeee"]), min_size=1, max_size=6),
        st.integers(0, 5),
        st.sampled_from(["", "", "", "-", "?"]),
    ),
    max_size=8,
)
BOUNDS = st.builds(Bounds, st.integers(1, 8), st.integers(1, 20), st.sampled_from([0, 0, 6, 12]))


@settings(derandomize=True, max_examples=500, deadline=None)
@given(CALLS, BOUNDS)
def test_a_batch_keeps_within_its_bounds_and_the_first_call_always_moves_on(
    specs: list[tuple[list[str], int, str]], bounds: Bounds
) -> None:
    calls = []
    for words, taken, mark in specs:
        call = call_of(mark + " ".join(words))
        call.taken = min(taken, len(words) - 1)
        calls.append(call)
    composition = compose(calls, bounds, loss_of)
    parts = composition.parts
    items = [item for part in parts for item in part.call.items[part.start : part.stop]]
    living = [call for call in calls if not call.done and loss_of(call) is None]
    # No living call is lost, and none that has ended is reported.
    assert all(call not in living and not call.done for call, _ in composition.lost)
    if living:
        assert parts[0].call is living[0]
    else:
        assert not parts
    # Each part goes on where its call was; the calls keep their order.
    assert all(part.start == part.call.taken < part.stop for part in parts)
    assert [part.call for part in parts] == [call for call in living if any(part.call is call for part in parts)]
    assert composition.size == sum(map(len, items))
    assert len(items) <= bounds.items
    if len(items) > 1:
        assert composition.size <= bounds.size
        assert not bounds.padded or len(items) * max(map(len, items)) <= bounds.padded
    suspects = [item for item in items if item.endswith(b"!")]
    assert composition.is_suspect is bool(suspects)
    assert not suspects or len(items) == 1
