"""An upstream's answer to a request that is passed on, and what its end means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.errors import ClientGone, DeadlineExceeded, ProxyError, UpstreamTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upstream.stream import Stream


class Forwarded:
    """An upstream's answer, which is passed on piece by piece. One thread; it has to be closed."""

    def __init__(
        self, stream: Stream, deadline: float, look: Callable[[], None], ended: Callable[[ProxyError | None], None]
    ) -> None:
        """``look`` raises a ``ProxyError`` if the answer is to end: an upstream that drips is never waited for.

        ``ended`` is called once, with what has ended the answer before it was whole, if anything has.
        """
        self._stream = stream
        self._deadline = deadline
        self._look = look
        self._ended: Callable[[ProxyError | None], None] | None = ended
        self._error: ProxyError | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; names in lower case."""
        return self._stream.reply.headers

    @property
    def is_whole(self) -> bool:
        """Whether the last byte of the answer has been read."""
        return self._error is None and self._stream.is_over

    def read(self) -> bytes:
        """Return the next bytes of the body; none at its end.

        Raises an ``UpstreamError``, ``DeadlineExceeded``, ``ClientGone`` and ``ShuttingDown``.
        """
        try:
            if not self._stream.is_over:
                self._look()
            return self._stream.read(self._deadline)
        except ProxyError as problem:
            # A copy is kept: an error that was raised holds on to every frame that it went through.
            self._error = late(problem) or problem.copy()
            raise self._error.copy() from None

    def close(self) -> None:
        """Let the connection go, and note the end of the call; a second time does nothing."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        if self._error is None and not self._stream.is_over:
            self._error = ClientGone("the client hung up before its answer was whole")
        self._stream.close()
        ended(self._error)


def late(problem: ProxyError) -> DeadlineExceeded | None:
    """Return what a call has ended with that was given time until its client's deadline; None if it was not late."""
    if not isinstance(problem, UpstreamTimeout):
        return None
    return DeadlineExceeded("the upstream's answer did not come before the deadline")
