"""Keys are fitted to the API that the upstreams speak; a thread waits where none has answered yet."""

from __future__ import annotations

import pytest

from batching import BatchKey, Task
from batching.clock import NEVER
from batching.errors import DeadlineExceeded, UpstreamUnavailable
from tests.support.fakes import FakeClock, FakeUpstream, items_of
from upstream.dialects.dialect import UpstreamInfo
from upstream.speakers import Speakers

KEY = BatchKey(Task.EMBED)


class SilentUpstream(FakeUpstream):
    """Has not shown yet what it speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks = ""

    def fit(self, key: BatchKey, items: object) -> BatchKey:
        if not self.speaks:
            raise UpstreamUnavailable("it has not answered yet")
        return key


def test_an_endpoint_that_knows_its_dialect_fits_keys_at_once() -> None:
    clock = FakeClock()
    speakers = Speakers([SilentUpstream(), FakeUpstream()], clock, 5.0)
    assert speakers.fit(KEY, items_of("a"), NEVER) == KEY
    assert clock.now() == 0.0


def test_a_thread_waits_for_the_first_that_answers() -> None:
    clock, upstream = FakeClock(), SilentUpstream()
    speakers = Speakers([upstream], clock, 5.0)

    def answer() -> None:
        upstream.speaks = "openai"
        speakers.look()

    clock.at(1.5, answer)
    assert speakers.fit(KEY, items_of("a"), NEVER) == KEY
    assert clock.now() <= 5.0


def test_where_none_answers_in_time_the_upstream_says_why() -> None:
    clock = FakeClock()
    with pytest.raises(UpstreamUnavailable, match="has not answered"):
        Speakers([SilentUpstream()], clock, 5.0).fit(KEY, items_of("a"), NEVER)
    assert clock.now() == 5.0


def test_the_wait_is_over_for_all_once_it_is_over_for_one() -> None:
    """A request that comes later is told at once, as in any outage that lasts."""
    clock = FakeClock()
    speakers = Speakers([SilentUpstream()], clock, 5.0)
    clock.time = 4.0
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            speakers.fit(KEY, items_of("a"), NEVER)
        assert clock.now() == 5.0


def test_threads_wait_again_when_what_was_known_is_given_up() -> None:
    clock, upstream = FakeClock(), SilentUpstream()
    upstream.speaks = "openai"
    speakers = Speakers([upstream], clock, 5.0)
    clock.time, upstream.speaks = 100.0, ""
    speakers.look()
    with pytest.raises(UpstreamUnavailable):
        speakers.fit(KEY, items_of("a"), NEVER)
    assert clock.now() == 105.0


def test_a_deadline_ends_the_wait() -> None:
    clock = FakeClock()
    with pytest.raises(DeadlineExceeded):
        Speakers([SilentUpstream()], clock, 5.0).fit(KEY, items_of("a"), 0.5)
    assert clock.now() == 0.5


def test_what_the_first_that_told_says_of_itself_is_known() -> None:
    silent, mute, told = SilentUpstream(), FakeUpstream(), FakeUpstream()
    told.known = UpstreamInfo("bge", 32, 512)
    assert Speakers([silent, mute, told], FakeClock(), 0.0).known == ("tei", told.known)
    assert Speakers([silent], FakeClock(), 0.0).known == ("", None)
