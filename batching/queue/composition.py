"""Which waiting items go into the next batch: a pure decision over the calls of one class."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.call import Part, Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from batching.call import Batch, Call, Item
    from batching.errors import ProxyError
    from batching.rank import Flow


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
    #: All that was taken, in the order of the calls: what rides in ``parts``, and what shares a result.
    taken: Sequence[Part] = ()
    #: Items equal to one of this batch, and those equal to one that is in flight already.
    shared: Sequence[Shared] = ()
    joined: Sequence[tuple[Part, Batch]] = ()


class Composer:
    """Makes up one batch out of the calls of one class, and then perhaps of another."""

    def __init__(self, size: int, padded: int, in_flight: Mapping[Item, Batch] | None = None) -> None:
        """``size`` and ``padded``: see ``Bounds``. ``in_flight``: the batch of each item that is in flight.

        ``in_flight`` is None where equal items are computed each for itself.
        """
        self._most_size = size
        self._padded = padded
        self._deduplicates = in_flight is not None
        self._in_flight = in_flight or {}
        #: The position of each item in the batch, where equal ones are to be found.
        self._seen: dict[Item, int] = {}
        self._count = self._longest = 0
        self._size = 0
        self._parts: list[Part] = []
        self._lost: list[tuple[Call, ProxyError]] = []
        self._taken: list[Part] = []
        self._shared: list[Shared] = []
        self._joined: list[tuple[Part, Batch]] = []
        self._is_suspect = False

    def take(
        self,
        calls: Iterable[Call],
        places: int,
        loss: Callable[[Call], ProxyError | None],
        allotted: dict[Flow | None, int] | None = None,
    ) -> None:
        """Take up to ``places`` more items of these calls, in their order.

        ``loss`` says why a call needs no answer any more, or None. ``allotted``: of each flow no more than that. A
        suspected item travels by itself: it makes the batch where it comes first, and is passed over otherwise, as is
        what waits behind it; so the first call always moves on. Items that do not fit end the batch, for otherwise
        small calls would keep a large one waiting.
        """
        end = self._count + places
        for waiting in _waiting_parts(calls, loss, self._lost, allotted):
            if self._is_suspect:
                return
            call, start, stop, _ = waiting
            if call.suspects and start in call.suspects:
                if not self._parts and not self._taken:
                    self._take_suspect(waiting)
                continue
            if allotted is not None:
                most = allotted.get(call.rank.flow, 0)
                if most <= 0:
                    continue
                stop = min(stop, start + most)
            before = self._count
            left = self._add(waiting, stop, end)
            if allotted is not None:
                allotted[call.rank.flow] -= self._count - before
            if self._count >= end or (left < stop and left not in call.suspects):
                return

    def composition(self) -> Composition:
        """Return the batch as it is now."""
        rest = (self._taken, self._shared, self._joined)
        return Composition(self._parts, self._lost, self._size, self._is_suspect, *rest)

    @property
    def count(self) -> int:
        """Items of the batch."""
        return self._count

    @property
    def room(self) -> int:
        """Bytes that the batch has room for."""
        return self._most_size - self._size

    def _take_suspect(self, waiting: Part) -> None:
        part = waiting._replace(stop=waiting.start + 1)
        self._parts.append(part)
        self._taken.append(part)
        self._size = len(part.call.items[part.start])
        self._count = 1
        self._is_suspect = True

    def _add(self, waiting: Part, stop: int, end: int) -> int:
        """Add what fits of these items, up to ``stop`` and until the batch has ``end``; return where it ended.

        Items that are equal to another share its result, and take no place. An item that is too large for any batch
        travels by itself: the upstream may judge it.
        """
        call, start, whole, reason = waiting
        items, suspects, seen, in_flight = call.items, call.suspects, self._seen, self._in_flight
        run = at = start
        while at < stop and at not in suspects:
            item = items[at]
            if (item in seen or item in in_flight) and self._share(call, at, reason):
                if at > run:
                    self._parts.append(Part(call, run, at, reason))
                at += 1
                run = at
                continue
            count, size, longest = self._count + 1, len(item), self._longest
            longest = max(longest, size)
            if count > end:
                break
            if count > 1 and (self._size + size > self._most_size or (self._padded and count * longest > self._padded)):
                break
            if self._deduplicates:
                seen[item] = count - 1
            self._count, self._longest = count, longest
            self._size += size
            at += 1
        if at > start:
            part = waiting if at == whole else Part(call, start, at, reason)
            self._taken.append(part)
            if at > run:
                self._parts.append(part if run == start else Part(call, run, at, reason))
        return at

    def _share(self, call: Call, at: int, reason: str | None) -> bool:
        """Let an item share the result of an equal one, of this batch or of one in flight; return whether it does."""
        item = call.items[at]
        index = self._seen.get(item)
        if index is not None:
            self._shared.append(Shared(Part(call, at, at + 1, reason), index))
            return True
        batch = self._in_flight[item]
        if at < call.taken and len(batch.items) > 1:
            return False  # it waits again: only what becomes of this item alone ends that for certain
        self._joined.append((Part(call, at, at + 1, reason), batch))
        return True


def compose(
    calls: Iterable[Call],
    bounds: Bounds,
    loss: Callable[[Call], ProxyError | None],
    in_flight: Mapping[Item, Batch] | None = None,
) -> Composition:
    """Return the next batch of the calls of one class; see ``Composer.take``."""
    composer = Composer(bounds.size, bounds.padded, in_flight)
    composer.take(calls, bounds.items, loss)
    return composer.composition()


def _waiting_parts(
    calls: Iterable[Call],
    loss: Callable[[Call], ProxyError | None],
    lost: list[tuple[Call, ProxyError]],
    allotted: dict[Flow | None, int] | None,
) -> Iterator[Part]:
    """Yield what waits of each call that needs an answer; add the others to ``lost``.

    A call whose flow has no place left is not asked whether it needs one.
    """
    for call in calls:
        if call.done or (allotted is not None and not allotted.get(call.rank.flow) and not call.suspects):
            continue
        if (error := loss(call)) is not None:
            lost.append((call, error))
        elif call.returned:
            yield from call.waiting_parts()
        else:
            yield Part(call, call.taken, len(call.items))
