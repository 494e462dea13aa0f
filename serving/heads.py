"""Remembers the heads of requests: the same bytes mean the same request, which gunicorn need not parse again.

A client that keeps its connection sends the same head each time, except for ``Content-Length``. Nothing is parsed here:
what gunicorn made of those very bytes is kept, so a remembered head cannot be understood in another way.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.http.body import LengthReader

if TYPE_CHECKING:
    from collections.abc import Hashable

#: The most heads remembered, of which the oldest is forgotten first, and the longest in bytes.
MOST_HEADS, LONGEST_HEAD = 512, 2048

#: The most hashes of heads seen once; a head is remembered when it comes the second time. All are forgotten together.
MOST_SEEN = 4096

#: The most strings that remembered heads share. All are forgotten together.
MOST_STRINGS = 1024

#: Attributes of a request, and keys of its environment, that belong to one request or one connection. They are not
#: remembered; the exchange fills them in.
_OF_ONE_REQUEST = ("unreader", "body", "peer_addr", "remote_addr")
_OF_ONE_CALL = ("wsgi.input", "wsgi.early_hints", "gunicorn.socket", "REMOTE_ADDR", "REMOTE_PORT")


class Head(NamedTuple):
    """What gunicorn made of a head: its request's attributes, the WSGI environment, and how many bytes follow."""

    attributes: dict[str, Any]
    environ: dict[str, Any]
    body_length: int


class ReceivedBody(io.BytesIO):
    """A body that came together with its head, so the connection has nothing left of it, read or not."""

    failed = False
    length = 0

    @property
    def reader(self) -> ReceivedBody:
        """This object: gunicorn's bodies have a reader whose ``length`` is what is left."""
        return self


class Heads:
    """The heads seen last, by listener and bytes. Any thread; one lock guards what changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, bytes], Head] = {}
        #: Hashes of heads seen once. Heads with an identity of their own request never come again.
        self._seen: set[int] = set()
        #: Each string of the remembered heads by itself, since these heads differ in little.
        self._strings: dict[str, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Heads: {len(self._known)} known, {len(self._seen)} seen once>"

    def find(self, server: Hashable, head: bytes) -> Head | None:
        """Return what gunicorn made of this head when it came to this listener; None if it is not remembered."""
        return self._known.get((server, head))

    def remember(self, server: Hashable, head: bytes, request: Any, environ: dict[str, Any]) -> None:
        """Keep what gunicorn made of a head that comes for the second time.

        Heads that are long, announce no length or expect ``100 Continue`` are not kept. Call it before the body is read
        and before the application gets the environment.
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
        """Return the string that stands for all equal ones; anything else as it is. With the lock held.

        Not ``sys.intern``: in Python 3.12 an interned string stays for ever, and these come from clients.
        """
        return self._strings.setdefault(value, value) if type(value) is str else value
