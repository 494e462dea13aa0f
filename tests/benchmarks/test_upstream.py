"""The simulated accelerator: its queue in simulated time, its routes, its timers."""

import asyncio
import heapq
import json

import pytest

from benchmarks import precise_loop, wire
from benchmarks.upstream import Accelerator, Cost, Service, noise_source
from benchmarks.vectors import HashVectors, PaletteVectors


class FakeLoop:
    """Time that jumps from one timer to the next."""

    def __init__(self):
        self.now = 0.0
        self._timers = []

    def time(self):
        return self.now

    def call_at(self, when, callback, *args):
        heapq.heappush(self._timers, (when, len(self._timers), callback, args))

    def run(self, late=0.0):
        """Run all timers, each `late` seconds behind its time."""
        while self._timers:
            when, _, callback, args = heapq.heappop(self._timers)
            self.now = max(self.now, when + late)
            callback(*args)


@pytest.fixture
def loop():
    return FakeLoop()


def _submit_all(accelerator, loop, sizes, longest=10):
    """Submit calls of `sizes` now; the list fills with (size, loop time of its answer)."""
    ends = []
    for size in sizes:
        accelerator.submit(size, longest, lambda size=size: ends.append((size, pytest.approx(loop.now))))
    return ends


def test_one_server_works_off_calls_in_order(loop):
    accelerator = Accelerator(loop, Cost(10, 1))
    ends = _submit_all(accelerator, loop, [1, 5, 2])
    loop.run()
    assert ends == [(1, 11), (5, 26), (2, 38)]
    assert (accelerator.calls, accelerator.items) == (3, 8)
    assert accelerator.busy == 38


def test_two_servers_work_side_by_side(loop):
    accelerator = Accelerator(loop, Cost(10, 1), servers=2)
    ends = _submit_all(accelerator, loop, [1, 5, 2])
    loop.run()
    assert ends == [(1, 11), (5, 15), (2, 23)]


def test_late_timers_do_not_slow_the_accelerator(loop):
    accelerator = Accelerator(loop, Cost(10, 0))
    ends = _submit_all(accelerator, loop, [1] * 10)
    loop.run(late=1)
    assert ends[-1] == (1, 101)


def test_rebatching_merges_what_waits(loop):
    accelerator = Accelerator(loop, Cost(10, 1), rebatch_limit=4)
    ends = _submit_all(accelerator, loop, [1, 1, 2, 1, 9])
    loop.run()
    # alone (no other call waited), then 1 + 2 + 1, then the one that is over the limit by itself
    assert ends == [(1, 11), (1, 25), (2, 25), (1, 25), (9, 44)]
    assert accelerator.pass_sizes == {1: 1, 4: 1, 9: 1}


def test_padding_costs_the_longest_item_for_all():
    padded = Cost(10, 1, pad_chars=40)
    assert padded.seconds(32, 400) == 10 + 32 * 400 / 40
    assert Cost(10, 1).seconds(32, 400) == 42


def test_reset_forgets_the_counts(loop):
    accelerator = Accelerator(loop, Cost(1, 0))
    _submit_all(accelerator, loop, [3])
    loop.run()
    accelerator.reset()
    assert (
        accelerator.calls,
        accelerator.items,
        accelerator.busy,
        accelerator.pass_sizes,
    ) == (0, 0, 0.0, {})
    assert accelerator.items_inside == 0


def test_noise_is_seeded_centred_and_never_negative():
    noise, again = noise_source(0.5, seed=1), noise_source(0.5, seed=1)
    factors = [noise() for _ in range(2000)]
    assert factors == [again() for _ in range(2000)]
    assert sum(factors) / 2000 == pytest.approx(1, abs=0.05)
    assert min(factors) >= 0.1
    assert noise_source(0, seed=1)() == 1.0


@pytest.mark.parametrize("vectors", [HashVectors(384), PaletteVectors(384)])
def test_vectors_depend_on_the_text_alone(vectors):
    assert len(json.loads(vectors.vector("a"))) == 384
    assert vectors.vector("a") == vectors.vector("a")
    assert vectors.vector("a") != vectors.vector("b")


def _ask(loop, method, path, body=b""):
    service = Service(Accelerator(loop, Cost(0.005, 0)), HashVectors(4))
    replies: list[bytes] = []
    service.handle(method, path, body, replies.append)
    loop.run()
    (reply,) = replies
    head = wire.read_reply_head(reply, len(reply))
    assert head is not None
    return head.status, json.loads(reply[head.body_at :])


def test_embed_takes_a_string_or_a_list(loop):
    status, single = _ask(loop, b"POST", b"/embed", b'{"inputs": "a", "truncate": true}')
    assert (status, len(single), len(single[0])) == (200, 1, 4)
    _, several = _ask(loop, b"POST", b"/embed", b'{"inputs": ["b", "a"]}')
    assert single[0] == several[1]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "Validation"),
        (b'{"inputs": 5}', 422, "Validation"),
        (b'{"inputs": []}', 400, "Empty"),
        (json.dumps({"inputs": ["x"] * 1001}).encode(), 422, "Validation"),
    ],
)
def test_bad_bodies_get_teis_errors(loop, body, status, kind):
    answered, content = _ask(loop, b"POST", b"/embed", body)
    assert (status, kind) == (answered, content["error_type"])


def test_more_items_than_permits_are_refused(loop):
    service = Service(Accelerator(loop, Cost(1, 0)), HashVectors(1))
    replies: list[bytes] = []
    for _ in range(5):
        service.handle(b"POST", b"/embed", json.dumps({"inputs": ["x"] * 1000}).encode(), replies.append)
    assert replies[0].startswith(b"HTTP/1.1 429")
    loop.run()
    assert len(replies) == 5


def test_info_tells_the_limits_and_stats_the_counts(loop):
    _, info = _ask(loop, b"GET", b"/info")
    assert (info["max_client_batch_size"], info["max_concurrent_requests"]) == (1000, 4096)
    _, stats = _ask(loop, b"GET", b"/stats")
    assert {"calls", "items", "busy_seconds", "batch_sizes", "pass_sizes"} == set(stats)
    assert _ask(loop, b"GET", b"/health") == (200, {})
    assert _ask(loop, b"POST", b"/reset") == (200, {})
    assert _ask(loop, b"GET", b"/nowhere")[0] == 404


def test_timers_are_finer_than_a_millisecond():
    async def shortest_overshoot():
        clock = asyncio.get_running_loop().time
        overshoots = []
        for _ in range(20):
            until = clock() + 0.0023
            done = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_at(until, done.set_result, None)
            await done
            overshoots.append(clock() - until)
        return min(overshoots)

    assert precise_loop.run(shortest_overshoot()) < 0.0005
