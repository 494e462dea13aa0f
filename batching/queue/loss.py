"""Why a waiting call needs no answer any more: its deadline, or its client that is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.errors import ClientGone, DeadlineExceeded, Hopeless

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching.call import Call
    from batching.errors import ProxyError

#: Only calls that waited this long (s) are asked whether their client is still there: a system call each,
#: made under the lock, which would cost more than it saves where calls hardly wait.
HANGUP_CHECK_AFTER = 0.05


def loss_at(now: float, in_time: float) -> Callable[[Call], ProxyError | None]:
    """Return a function that says why no client will read a call's answer, which comes ``in_time``, or None."""

    def loss(call: Call) -> ProxyError | None:
        if call.deadline <= now:
            return DeadlineExceeded("the deadline passed while the request was waiting")
        if call.deadline < in_time:
            return Hopeless("too many wait for this request to be answered before its deadline")
        if call.is_gone is not None and now - call.arrived >= HANGUP_CHECK_AFTER and call.is_gone():
            return ClientGone("the client closed the connection while its request was waiting")
        return None

    return loss
