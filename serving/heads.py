"""Remembers the heads of requests: the same bytes mean the same request, which gunicorn need not work out again.

Clients that keep their connection send the same head each time, but for ``Content-Length``. Nothing is parsed here:
what gunicorn made of those very bytes is kept, so a remembered request cannot be understood in another way.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.http.body import LengthReader

if TYPE_CHECKING:
    from collections.abc import Hashable

#: Heads remembered, the oldest is forgotten first, and the longest (bytes) that is worth it.
MOST_HEADS, LONGEST_HEAD = 512, 2048

#: Heads of which it is known that they came once.
MOST_SEEN = 4096

#: Strings of heads that are looked for to be shared.
MOST_STRINGS = 1024

#: What belongs to one request or one connection, and is filled in for each.
_OF_ONE_REQUEST = ("unreader", "body", "peer_addr", "remote_addr")
_OF_ONE_CALL = ("wsgi.input", "wsgi.early_hints", "gunicorn.socket", "REMOTE_ADDR", "REMOTE_PORT")


class Head(NamedTuple):
    """What gunicorn made of a head: its request's attributes, the WSGI environment, and how many bytes follow."""

    attributes: dict[str, Any]
    environ: dict[str, Any]
    body_length: int


class ReceivedBody(io.BytesIO):
    """A body that came with its head: nothing is left to be read of it, whoever looks at it or not."""

    failed = False
    length = 0

    @property
    def reader(self) -> ReceivedBody:
        """Itself: gunicorn's bodies have a reader that knows what is left."""
        return self


class Heads:
    """The heads seen last, by listener and bytes. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, bytes], Head] = {}
        #: Hashes of heads seen once. Where each request has an identity of its own none comes again.
        self._seen: set[int] = set()
        #: Strings that heads share, for they differ in little.
        self._strings: dict[str, str] = {}
        self._lock = threading.Lock()

    def find(self, server: Hashable, head: bytes) -> Head | None:
        """Return what is known of a head that came in by this listener."""
        return self._known.get((server, head))

    def remember(self, server: Hashable, head: bytes, request: Any, environ: dict[str, Any]) -> None:
        """Keep what gunicorn made of a head that comes for the second time, unless more than its bytes matter.

        The body is not to have been touched, and the environment not to have been given to anybody.
        """
        reader = request.body.reader
        if not head.endswith(b"\r\n\r\n") or len(head) > LONGEST_HEAD:
            return
        if not isinstance(reader, LengthReader) or request._expected_100_continue:  # noqa: SLF001
            return
        seen = hash((server, head))
        with self._lock:
            if seen not in self._seen:
                if len(self._seen) >= MOST_SEEN:
                    self._seen.clear()
                self._seen.add(seen)
                return
        one = self._one
        with self._lock:
            if len(self._strings) >= MOST_STRINGS:
                self._strings.clear()
            attributes = {name: one(value) for name, value in vars(request).items() if name not in _OF_ONE_REQUEST}
            attributes["headers"] = [(one(name), one(value)) for name, value in request.headers]
            shared = {one(name): one(value) for name, value in environ.items() if name not in _OF_ONE_CALL}
            if len(self._known) >= MOST_HEADS:
                del self._known[next(iter(self._known))]
            self._known[server, head] = Head(attributes, shared, reader.length)

    def _one(self, value: Any) -> Any:
        """Return the one string that is equal to this; what is no string as it is.

        Not ``sys.intern``: in Python 3.12 what it is given stays for ever, and these strings are the clients'.
        """
        return self._strings.setdefault(value, value) if type(value) is str else value
