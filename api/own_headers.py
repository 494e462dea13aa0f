"""Marks response headers that need no check, since all of them are of our own making. Knows no Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class OwnHeaders(list[tuple[str, str]]):
    """Headers of a response to POST, with ``Content-Length``, all of our own making: nobody need check them."""

    def __init__(self, pairs: Iterable[tuple[str, str]], length: int) -> None:
        super().__init__(pairs)
        self.length = length
        self.append(("Content-Length", str(length)))
