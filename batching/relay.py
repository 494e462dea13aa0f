"""Wakes the waiters of one batch one after the other, each by the one before, instead of all at once.

Thirty-two threads that wake together fight for one interpreter lock: nearly all of them wake, find it taken
and sleep again. Woken in a chain, each finds it free. A thread passes the wake-up on when it is about
to block anyway; if it has not promised to do that (``later``), at once.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batching.call import Call


class _Promise(threading.local):
    """Whether this thread has promised to pass the wake-up on, and to whom."""

    given = False
    follower: Call | None = None


_promise = _Promise()


def link(ended: list[Call]) -> None:
    """Make a chain of these calls, in the same breath in which they end, with the queue's lock held.

    A waiter whose patience ends just now finds its call ended and its follower known: it breaks no chain.
    """
    for call, follower in pairwise(ended):
        call.follower = follower


def wake(ended: list[Call]) -> None:
    """Wake the waiter of the first of these linked calls; it starts the chain."""
    if ended:
        ended[0].event.set()


def woken(call: Call) -> None:
    """Called by a waiter that has woken: the next is woken now, or when this thread keeps its promise."""
    if call.follower is None:
        return
    if _promise.given:
        pass_on()
        _promise.follower = call.follower
    else:
        call.follower.event.set()


def pass_on() -> None:
    """Keep the promise: wake the next waiter, if there is one. Call it before anything that may block."""
    if (follower := _promise.follower) is not None:
        _promise.follower = None
        follower.event.set()


@contextmanager
def later() -> Iterator[None]:
    """Promise that this thread calls ``pass_on`` before it blocks; leaving keeps the promise in any case."""
    _promise.given = True
    try:
        yield
    finally:
        _promise.given = False
        pass_on()
