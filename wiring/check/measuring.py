"""Makes calls and takes their time: of growing size one by one, and of crowds with and without batching."""

from __future__ import annotations

import itertools
import random
import statistics
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from batching import Batch, BatchKey, Call, Task
from batching.errors import ProxyError
from wiring.check.payoff import Pair, over_http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batching import Batcher, Item
    from upstream.endpoint import Endpoint

#: Crowds that are tried.
CLIENTS = (1, 4, 16, 64)
#: Seconds in which a crowd is measured: this, or as long as so many of the longest calls take, or this at most.
WINDOW, CALLS_IN_WINDOW, LONGEST_WINDOW = 1.5, 6, 12.0
#: The part of a window before it in which nothing is counted: the timing rule learns.
SETTLING = 0.4
#: Calls of one size: as many as take so long together, within these bounds.
SIZE_SECONDS, LEAST_CALLS, MOST_CALLS = 0.4, 3, 15

#: Words of a text: a short sentence, as queries are.
TEXT_WORDS = 8
_WORDS = (
    "river",
    "stone",
    "market",
    "engine",
    "garden",
    "window",
    "letter",
    "bridge",
    "winter",
    "signal",
    "harbour",
    "copper",
    "ladder",
    "meadow",
    "pocket",
)
_KEY = BatchKey(Task.EMBED)
_chance = random.Random(20)  # noqa: S311 - no secret is made of it
_numbers = itertools.count()


def text() -> Item:
    """Return a text of ``TEXT_WORDS`` words that was not sent before: a server might remember those."""
    return f'"{" ".join([f"q{next(_numbers)}", *_chance.choices(_WORDS, k=TEXT_WORDS - 1)])}"'.encode()


class Sizes(NamedTuple):
    """The seconds of calls by their texts, and why there are none of larger ones; empty if there are."""

    times: dict[int, float]
    stopped_by: str = ""


def ladder(endpoint: Endpoint, most: int, tell: Callable[[int], None]) -> Sizes:
    """Measure calls of 1, 2, 4 … ``most`` texts, one after the other: the median of each size.

    ``tell``: called with each size. Ends with the first size that the upstream refuses.
    """
    times: dict[int, float] = {}
    for size in sizes(most):
        tell(size)
        try:
            times[size] = statistics.median(_calls(endpoint, size))
        except ProxyError as problem:
            return Sizes(times, f"calls of {size} texts are refused: {problem}")
    return Sizes(times)


def sizes(most: int) -> list[int]:
    """Return 1, 2, 4 … up to ``most``, which is always the last."""
    doubled = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return [*doubled, most]


def _calls(endpoint: Endpoint, size: int) -> Iterator[float]:
    send(endpoint, [text() for _ in range(size)])  # the first of a size may compile something
    began = time.monotonic()
    for made in range(MOST_CALLS):
        if made >= LEAST_CALLS and time.monotonic() - began >= SIZE_SECONDS:
            return
        items = [text() for _ in range(size)]
        before = time.monotonic()
        send(endpoint, items)
        yield time.monotonic() - before


def send(endpoint: Endpoint, items: Sequence[Item]) -> int:
    """Make one call; return the numbers of a vector, 0 where there is none. Raises a ``ProxyError``."""
    batch = Batch(endpoint.fit(_KEY, items), "check", time.monotonic())
    batch.items = list(items)
    return endpoint.send(batch).dimension or 0


# ---- crowds -------------------------------------------------------------------------------------


class Crowd(NamedTuple):
    """What a crowd got: requests a second, texts of a call on the average, and the first error."""

    rate: float
    batch_size: float
    error: str = ""


def window_of(longest_call: float) -> float:
    """Return the seconds for which a crowd is measured where the longest call takes so long."""
    return min(max(WINDOW, CALLS_IN_WINDOW * longest_call), LONGEST_WINDOW)


def direct(endpoints: Sequence[Endpoint], clients: int, seconds: float) -> Crowd:
    """Let so many clients send one text at a time to the upstreams, each waiting for its answer."""

    def ask(number: int) -> int:
        send(endpoints[number % len(endpoints)], [text()])
        return 1

    return _crowd(ask, clients, seconds)


def batched(
    batcher: Batcher, fit: Callable[[BatchKey, Sequence[Item], float], BatchKey], clients: int, seconds: float
) -> Crowd:
    """Let so many clients ask the engine, as the service's requests do, but not over HTTP."""

    def ask(number: int) -> int:  # noqa: ARG001 - all have the same engine
        items = [text()]
        deadline = time.monotonic() + LONGEST_WINDOW
        call = Call(items, fit(_KEY, items, deadline), deadline)
        batcher.ask(call)
        return call.batch_size

    return _crowd(ask, clients, seconds)


def pair_of(clients: int, straight: Crowd, through: Crowd) -> Pair:
    """Return the two side by side."""
    return Pair(clients, straight.rate, over_http(through.rate, clients, through.batch_size), through.batch_size)


def _crowd(ask: Callable[[int], int], clients: int, seconds: float) -> Crowd:
    """Run ``ask`` in as many threads again and again; it returns the texts of the call that its own was in."""
    began = time.monotonic() + SETTLING * seconds
    ends = began + seconds
    answered: list[list[tuple[float, int]]] = [[] for _ in range(clients)]
    errors: list[str] = []

    def client(number: int) -> None:
        while not errors and time.monotonic() < ends:
            try:
                size = ask(number)
            except ProxyError as problem:
                errors.append(str(problem))
                return
            answered[number].append((time.monotonic(), size))

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = [size for of_one in answered for moment, size in of_one if began <= moment < ends]
    calls = sum(1 / size for size in counted)
    return Crowd(len(counted) / seconds, len(counted) / calls if calls else 0.0, errors[0] if errors else "")
