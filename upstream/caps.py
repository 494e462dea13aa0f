"""What one upstream takes in a call, as far as its refusals show: decisions.

A refusal that names a figure sets a cap that holds until the upstream has been away. Any other sets a guess, which is
doubled after each quiet minute until it bounds nothing: it may have been too low, or the upstream may have changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.capacity import UNLIMITED_BYTES
from batching.clock import NEVER
from upstream.dialects.sizes import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from batching.errors import SizeFigures

#: Items of a batch where nothing is known.
UNLIMITED = 1_000_000
#: The share of a figure of tokens that is made use of: tokens are estimated by the bytes of the refused batch.
OF_TOKENS = 0.95
#: Bytes of a call below which a refusal that names no figure is taken to be about the number of items.
FEW_BYTES = 1024
#: Seconds without a refusal after which a guess is doubled.
QUIET = 60.0


class Caps(NamedTuple):
    """The caps of one upstream: items of a call, and bytes of its items together."""

    items: int = UNLIMITED
    size: int = UNLIMITED_BYTES
    #: Whether the items are a guess; the bytes always are.
    is_guess: bool = False
    #: When a guess is doubled next; ``NEVER`` if there is none.
    rises_at: float = NEVER

    def refused(self, count: int, size: int, said: SizeFigures, now: float) -> Caps:
        """Return the caps after a call of ``count`` items (two at least), of ``size`` bytes, that was too large.

        A call as large as that one is beyond the new caps in any case.
        """
        # So few bytes are no server's limit: words that tell nothing meant the items then.
        if said.of_items or (said.most_tokens is None and size < FEW_BYTES):
            most = _items(count, said.most_items)
            if most >= self.items:  # of a call that was under way when the cap was lowered
                return self.after(now)
            is_guess = most != said.most_items
            return self._replace(items=most, is_guess=is_guess).after(now)
        return self._replace(size=min(self.size, _bytes(size, said))).after(now)

    def risen(self, now: float, items: int, size: int) -> Caps:
        """Return the caps after a quiet minute. ``items``, ``size``: beyond these a guess bounds nothing any more."""
        if now < self.rises_at:
            return self
        risen = self
        if self.is_guess:
            twice = 2 * self.items
            risen = risen._replace(items=twice) if twice < items else risen._replace(items=UNLIMITED, is_guess=False)
        if self.size != UNLIMITED_BYTES:
            risen = risen._replace(size=2 * self.size if 2 * self.size < size else UNLIMITED_BYTES)
        return risen.after(now)

    def after(self, now: float) -> Caps:
        """Return the same caps with a quiet minute that begins at the moment ``now``."""
        return self._replace(rises_at=now + QUIET if self.is_guess or self.size != UNLIMITED_BYTES else NEVER)


def is_believable(count: int, said: SizeFigures) -> bool:
    """Whether a call of so many items may have been refused for what the words say."""
    if said.of_items:
        return said.most_items is None or said.most_items <= count
    return said.most_tokens is None or said.had_tokens is None or said.most_tokens <= said.had_tokens


def _items(count: int, most: int | None) -> int:
    """Return how many items a call may have after one of ``count`` items was refused."""
    if most is None or most > count:
        return (count + 1) // 2
    return max(1, min(most, count - 1))  # "less than 32" names a figure that is one too many


def _bytes(size: int, said: SizeFigures) -> int:
    """Return how many bytes a call may have after one of ``size`` bytes was refused: half, or by the tokens named."""
    half = max(1, size // 2)
    if said.most_tokens is None:
        return half
    if said.had_tokens:
        return max(1, min(int(size * OF_TOKENS * said.most_tokens / said.had_tokens), size - 1))
    estimated = said.most_tokens * BYTES_PER_TOKEN
    return estimated if estimated < size else half
