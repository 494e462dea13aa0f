"""Wakes the waiters of one batch one after the other, each by the one before, instead of all at once.

Thirty-two threads that wake together fight for one interpreter lock: nearly all of them wake, find it taken
and sleep again. Woken in a chain, each finds it free. A thread passes the wake-up on when it is about
to block anyway; if it has not promised to do that (``later``), at once.

::

    batcher thread            handler thread 1                     handler thread 2
    settle: link(ended)       waits in Batcher.result              waits
    wake(ended) ────────────> woken(call 1): keeps call 2 in mind
                              writes its answer
                              pass_on(), before it blocks ───────> woken(call 2) …

``link`` runs in the queue, ``wake`` and ``woken`` in the batcher, ``later`` and ``pass_on`` in the worker, which alone
knows when a handler thread is about to block.
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
    """Whether this thread has promised to pass the wake-up on, and to which call's waiter."""

    given = False
    follower: Call | None = None


_promise = _Promise()


def link(ended: list[Call]) -> None:
    """Make a chain of these calls. Call it with the queue's lock held, when the calls are marked done.

    If a waiter times out at this moment its call is already linked, so it still wakes the next one.
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
