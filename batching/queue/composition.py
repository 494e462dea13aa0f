"""Which waiting items go into the next batch: a pure decision over the calls of one class."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.call import Part, Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from batching.call import Call, Item
    from batching.errors import ProxyError
    from batching.queue.twins import InFlightItems, Place
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
    joined: Sequence[tuple[Part, Place]] = ()


class Twins:
    """Finds items equal to one of the batch that is made up, or of a batch in flight."""

    def __init__(self, in_flight: InFlightItems) -> None:
        self.in_flight = in_flight
        #: The position of each item in the batch.
        self.seen: dict[Item, int] = {}


class Composer:
    """Makes up one batch out of the calls of one class, and then perhaps of another."""

    def __init__(self, size: int, padded: int, twins: Twins | None = None) -> None:
        """``size`` and ``padded``: see ``Bounds``. ``twins``: None where equal items are computed each for itself."""
        self._most_size = size
        self._padded = padded
        self._twins = twins
        self._count = self._longest = 0
        self._size = 0
        self._parts: list[Part] = []
        self._lost: list[tuple[Call, ProxyError]] = []
        self._taken: list[Part] = []
        self._shared: list[Shared] = []
        self._joined: list[tuple[Part, Place]] = []
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
        """Add what fits of these items, up to ``stop`` and until the batch has ``end``; return where it ended."""
        call, start, whole, reason = waiting
        if self._twins is None:
            at = self._fit(call, start, stop, end)
            if at > start:
                self._parts.append(waiting if at == whole else Part(call, start, at, reason))
        else:
            at = self._fit_once(self._twins, waiting, stop, end)
        if at > start:
            self._taken.append(waiting if at == whole else Part(call, start, at, reason))
        return at

    def _fit(self, call: Call, start: int, stop: int, end: int) -> int:
        """Count in the items that fit; return the position behind the last."""
        at = start
        while at < stop and self._count < end and not (call.suspects and at in call.suspects):
            if not self._fits(len(call.items[at])):
                break
            at += 1
        return at

    def _fits(self, size: int) -> bool:
        """Count in one more item of ``size`` bytes if it fits.

        An item that is too large for any batch travels by itself: the upstream may judge it.
        """
        longest = max(self._longest, size)
        if self._count:
            if self._size + size > self._most_size:
                return False
            if self._padded and (self._count + 1) * longest > self._padded:
                return False
        self._count += 1
        self._size += size
        self._longest = longest
        return True

    def _fit_once(self, twins: Twins, waiting: Part, stop: int, end: int) -> int:
        """Do the same, and let items that are equal to another share its result; they take no place."""
        call, start, _, reason = waiting
        seen, in_flight = twins.seen, twins.in_flight
        run = at = start
        while at < stop and not (call.suspects and at in call.suspects):
            item = call.items[at]
            index = seen.get(item)
            place = in_flight.find(item) if index is None and in_flight else None
            if place is not None and at < call.taken and len(place.batch.items) > 1:
                place = None  # it waits again: only what becomes of this item alone ends that for certain
            if index is None and place is None:
                if self._count >= end or not self._fits(len(item)):
                    break
                seen[item] = self._count - 1
                at += 1
                continue
            if at > run:
                self._parts.append(Part(call, run, at, reason))
            one = Part(call, at, at + 1, reason)
            if index is not None:
                self._shared.append(Shared(one, index))
            else:
                self._joined.append((one, place))  # type: ignore[arg-type] # one of the two is there
            at += 1
            run = at
        if at > run:
            self._parts.append(Part(call, run, at, reason))
        return at


def compose(
    calls: Iterable[Call],
    bounds: Bounds,
    loss: Callable[[Call], ProxyError | None],
    twins: Twins | None = None,
) -> Composition:
    """Return the next batch of the calls of one class; see ``Composer.take``."""
    composer = Composer(bounds.size, bounds.padded, twins)
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
