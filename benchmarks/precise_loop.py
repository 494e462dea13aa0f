"""An asyncio loop whose timers are good to tens of microseconds.

asyncio's epoll selector rounds every timeout up to a whole millisecond, which would add half a
millisecond on average to an accelerator of 4 ms and to every send time of an open loop.
An epoll descriptor can itself be waited for with select(2), whose timeout counts microseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import select
import selectors
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeVar

    T = TypeVar("T")

_PR_SET_TIMERSLACK = 29
_SLACK_NS = 1000
#: The value by which the kernel restores the slack that the thread was made with.
_DEFAULT_SLACK = 0


if sys.platform == "linux":

    class _PreciseSelector(selectors.EpollSelector):
        """epoll with timeouts in microseconds, for one more system call per wait."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """Like EpollSelector.select, without its rounding of `timeout` (seconds)."""
            if timeout is not None and timeout > 0:
                select.select((self.fileno(),), (), (), timeout)
                timeout = 0
            return super().select(timeout)

else:
    _PreciseSelector = selectors.DefaultSelector


def _let_timers_slip(nanoseconds: int) -> None:
    """Tell the kernel by how much it may delay this thread's timers (50 µs by default, also if it refuses)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0)


def new_loop() -> asyncio.AbstractEventLoop:
    """A selector loop with precise timers."""
    return asyncio.SelectorEventLoop(_PreciseSelector())


def run(main: Coroutine[object, object, T]) -> T:
    """asyncio.run on such a loop; afterwards the thread has its default slack again."""
    _let_timers_slip(_SLACK_NS)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main)
    finally:
        _let_timers_slip(_DEFAULT_SLACK)
