"""Marks response headers that this service made itself, so that the server need not check them. Knows no Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class OwnHeaders(list[tuple[str, str]]):
    """The headers of a response to POST, all of them made by this service, with ``Content-Length`` at the end.

    The server sends them unchecked: no name or value comes from a client unvalidated. ``length``: the body's bytes.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], length: int) -> None:
        super().__init__(pairs)
        self.length = length
        self.append(("Content-Length", str(length)))
