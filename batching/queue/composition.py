"""Which waiting items go into the next batch: a pure decision over the calls of one lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.call import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from batching.call import Call
    from batching.errors import ProxyError


class Bounds(NamedTuple):
    """What a batch may hold: items, bytes, and bytes counted as items x the longest (0: the upstream does not pad)."""

    items: int
    size: int
    padded: int = 0


class Composition(NamedTuple):
    """The parts of the next batch, and the calls that were passed over because no client waits for their answer."""

    parts: list[Part]
    lost: list[tuple[Call, ProxyError]]
    #: Bytes of the items in ``parts``.
    size: int
    #: Whether the batch is one suspected item that travels by itself.
    is_suspect: bool


def compose(calls: Iterable[Call], bounds: Bounds, loss: Callable[[Call], ProxyError | None]) -> Composition:
    """Return the next batch of these calls, taken in their order.

    ``loss`` says why a call needs no answer any more, or None. A suspected item travels by itself: it makes a batch
    where it comes first, and is passed over otherwise, as is what waits behind it; so the first call always moves on.
    Items that do not fit end the batch, for otherwise small calls would keep a large one waiting.
    """
    parts: list[Part] = []
    lost: list[tuple[Call, ProxyError]] = []
    count = size = longest = 0
    for waiting in _waiting_parts(calls, loss, lost):
        call, start, end, reason = waiting
        if call.suspects and start in call.suspects:
            if parts:
                continue
            return Composition([Part(call, start, start + 1, reason)], lost, len(call.items[start]), is_suspect=True)
        stop, added, longest = _fit(waiting, bounds, count, size, longest)
        if stop > start:
            parts.append(waiting if stop == end else Part(call, start, stop, reason))
            count += stop - start
            size += added
        if count >= bounds.items or (stop < end and stop not in call.suspects):
            break
    return Composition(parts, lost, size, is_suspect=False)


def _waiting_parts(
    calls: Iterable[Call], loss: Callable[[Call], ProxyError | None], lost: list[tuple[Call, ProxyError]]
) -> Iterator[Part]:
    """Yield what waits of each call that needs an answer; add the others to ``lost``."""
    for call in calls:
        if call.done:
            continue
        if (error := loss(call)) is not None:
            lost.append((call, error))
        elif call.returned:
            yield from call.waiting_parts()
        else:
            yield Part(call, call.taken, len(call.items))


def _fit(waiting: Part, bounds: Bounds, count: int, size: int, longest: int) -> tuple[int, int, int]:
    """Say up to which item these fit beside ``count`` items of ``size`` bytes, the longest of ``longest`` bytes.

    Returns the position behind the last that fits, the bytes added, and the longest item then. An item that is too
    large for any batch travels by itself: the upstream may judge it.
    """
    call, start, end, _ = waiting
    if start + 1 == end and not bounds.padded:  # most calls have one item
        added = len(call.items[start])
        return (end, added, longest) if not count or size + added <= bounds.size else (start, 0, longest)
    stop = start
    added = 0
    for item in call.items[start : min(end, start + bounds.items - count)]:
        beside = count + stop - start
        if call.suspects and stop in call.suspects:
            break
        if beside and size + added + len(item) > bounds.size:
            break
        widest = max(longest, len(item))
        if bounds.padded and beside and (beside + 1) * widest > bounds.padded:
            break
        longest = widest
        added += len(item)
        stop += 1
    return stop, added, longest
