"""A value that is costly to make is made seldom, by one thread, and shared by all who ask."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from api.shared import MOST_KEYS, Shared


class Bench:
    """A clock that only the test moves, and values that count how often one was made."""

    def __init__(self, *, rate: float = 1.0, burst: int = 2) -> None:
        self.now = 100.0
        self.made: list[Any] = []
        self.shared: Shared[str] = Shared(rate=rate, burst=burst, clock=lambda: self.now)

    def make(self) -> str:
        self.made.append(self.now)
        return f"value {len(self.made)}"

    def get(self, key: str = "text") -> str:
        return self.shared.get(key, self.make)


def test_after_a_while_without_each_gets_a_value_of_its_own_until_the_burst_is_used_up() -> None:
    bench = Bench(burst=2)
    values = []
    for _ in range(4):
        bench.now += 0.001
        values.append(bench.get())
    assert values == ["value 1", "value 2", "value 2", "value 2"]


def test_however_often_it_is_asked_for_one_is_made_a_second() -> None:
    bench = Bench(burst=2)
    values = []
    for _ in range(100):
        bench.now += 0.1
        values.append(bench.get())
    assert len(bench.made) in {11, 12}
    assert all(later - earlier >= 0.9 for earlier, later in zip(bench.made[1:], bench.made[2:], strict=False))


def test_no_value_that_is_told_is_older_than_a_second() -> None:
    bench = Bench(burst=1)
    assert bench.get() == "value 1"
    bench.now += 0.95
    assert bench.get() == "value 1"
    bench.now += 0.1
    assert bench.get() == "value 2"


def test_each_key_has_a_value_of_its_own_and_all_share_the_rate() -> None:
    bench = Bench(burst=1)
    assert [bench.get("text"), bench.get("openmetrics"), bench.get("text")] == ["value 1", "value 2", "value 1"]


def test_the_number_of_keys_is_bounded() -> None:
    bench = Bench(burst=1)
    for number in range(MOST_KEYS):
        bench.get(str(number))
    assert bench.get("0") == "value 1"
    bench.get("one more")
    assert bench.get("0") == f"value {MOST_KEYS + 2}"


def test_a_failure_is_shared_like_a_value_and_passes_with_time() -> None:
    bench = Bench(burst=1)

    def fail() -> str:
        bench.make()
        raise ValueError("spoilt")

    for _ in range(3):
        with pytest.raises(ValueError, match="spoilt"):
            bench.shared.get("text", fail)
    assert len(bench.made) == 1
    bench.now += 1.5
    assert bench.get() == "value 2"


def test_those_that_ask_while_one_is_being_made_wait_for_it() -> None:
    bench = Bench(burst=10)
    begun, go_on = threading.Event(), threading.Event()
    got: list[str] = []

    def slowly() -> str:
        begun.set()
        go_on.wait(10)
        return bench.make()

    threads = [threading.Thread(target=lambda: got.append(bench.shared.get("text", slowly))) for _ in range(8)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    # The clock stands still, so each asked when the first was begun.
    assert got == ["value 1"] * 8
