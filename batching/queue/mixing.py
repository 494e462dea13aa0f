"""Makes up the batches of a lane out of its classes and flows, and says when bulk makes one due.

Used with the queue's lock held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.call import Part
from batching.clock import NEVER
from batching.queue.composition import Composer
from batching.timing.classes import ABOUT, FLOOD, NONE_AGED, Aged, may_lead, places
from batching.timing.rule import BULK, FULL, HOLD, MAX_WAIT, PROBE, Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batching.call import Batch, Call
    from batching.errors import ProxyError
    from batching.queue.composition import Composition
    from batching.queue.lanes import Lane
    from batching.queue.twins import InFlightItems
    from batching.queue.waiting import Waiting, WaitingBulk

    Loss = Callable[[Call], ProxyError | None]


def decide(lane: Lane, in_flight: int, now: float) -> Decision:
    """Return when the lane's next batch is due where bulk or several flows wait, or a call has a limit of its own.

    Interactive items are due by the timing rule, or when the first of them has waited as long as it wants to and a
    server is free. Bulk alone is due as soon as a server is free for it, or a whole batch of it waits and no
    interactive item comes.
    """
    own = lane.timing.decide(lane, in_flight, now) if lane.waiting else HOLD
    servers = lane.timing.servers
    if servers is not None and in_flight >= servers and own is not PROBE and now - lane.mixed_at < ABOUT:
        # What is sent behind another batch has lost its turn to flows that come meanwhile: the queue holds it.
        own = max(own, Decision(lane.mixed_at + ABOUT, own.reason))
    if own.due <= now:
        return own
    if lane.pressing != NEVER and lane.waiting and (servers is None or in_flight < servers):
        own = min(own, MAX_WAIT if lane.pressing <= now else Decision(lane.pressing, MAX_WAIT.reason))
    bulk = lane.bulk
    if bulk is None or not bulk.calls or own.due <= now:
        return own
    return min(own, _decide_bulk(lane, bulk, in_flight, now))


def _decide_bulk(lane: Lane, bulk: WaitingBulk, in_flight: int, now: float) -> Decision:
    is_about = is_interactive_about(lane, now)
    most, servers = lane.most_items, lane.timing.servers
    if bulk.waiting + lane.waiting >= most and not is_about and (servers is None or in_flight <= servers):
        return FULL  # one waits behind those in service: more would stand before the first interactive item that comes
    if servers is None:  # as many as there are slots, which the queue has looked at
        due = min(bulk.oldest + lane.limits.max_wait, bulk.aged_at)
        if bulk.waiting + lane.waiting >= most or due <= now:
            return BULK
        return Decision(due, BULK.reason)
    is_aged = bulk.aged_at <= now
    if in_flight == servers and bulk.waiting >= most and lane.timing.wants_probe(most, now):
        return PROBE
    if may_lead(in_flight, servers, is_about=is_about and not is_aged):
        return BULK
    # Once it has aged it may have the last server; behind another batch it would wait no less.
    return Decision(bulk.aged_at, BULK.reason) if in_flight < servers else HOLD


def is_interactive_about(lane: Lane, now: float) -> bool:
    """Whether interactive items wait, are in flight, or came lately."""
    return bool(lane.waiting or lane.in_flight_items) or now - lane.seen.at < ABOUT


def make_up(lane: Lane, now: float, loss: Loss) -> Composition:
    """Return the next batch of a lane."""
    calls, bounds = lane.candidates(now)
    composer = Composer(bounds.size, bounds.padded, None if lane.in_flight is None else lane.in_flight.batches)
    bulk = lane.bulk
    if bulk is None or not bulk.calls:
        _compose(composer, lane, calls, bounds.items, loss)
        return composer.composition()
    aged = NONE_AGED
    if bulk.aged_at <= now:  # the classes take turns to be first, for the first one may need all of the bytes
        aged = Aged(bulk.aged(now, FLOOD * bounds.items), leads=not (bulk.led and lane.waiting))
    bulk.led = aged.items > 0 and aged.leads
    shared_out = places(
        lane.waiting,
        bulk.waiting,
        bounds.items,
        lane.timing.cost,
        lane.limits.bulk_latency_budget,
        is_about=is_interactive_about(lane, now),
        aged=aged,
    )
    if bulk.led:
        _compose(composer, bulk, bulk.calls, shared_out.bulk, loss)
        _compose(composer, lane, calls, bounds.items - composer.count, loss)
    else:
        _compose(composer, lane, calls, shared_out.interactive, loss)
        _compose(composer, bulk, bulk.calls, shared_out.bulk, loss)
    return composer.composition()


def _compose(composer: Composer, waiting: Waiting, calls: Iterable[Call], places: int, loss: Loss) -> None:
    """Take items of one class, of each flow its part."""
    if places <= 0:
        return
    allotted = waiting.allot(places, composer.room)
    composer.take(calls, places, loss, allotted)
    waiting.give_back(allotted)


def take_out(lane: Lane, composed: Composition, batch: Batch) -> int:
    """Take what was composed out of the lane, and bulk items that equal it; return how many items that was."""
    bulk = lane.bulk
    if bulk is None:
        taken = lane.remove(composed.taken)
        lane.look_at_limits()
        return taken
    first = [part for part in composed.taken if not part.call.rank.is_bulk]
    second = [part for part in composed.taken if part.call.rank.is_bulk]
    taken = (lane.remove(first) if first else 0) + (bulk.remove(second) if second else 0)
    lane.look_at_limits()
    if bulk.twins is not None and first and bulk.calls:
        for at, item in enumerate(batch.items):
            for call, position in bulk.twins.take(item):
                batch.share(_one(call, position), at)
                bulk.remove_one(call, position)
                taken += 1
    return taken


def join(call: Call, in_flight: InFlightItems) -> int:
    """Let the items of a call that has just arrived share the results of equal items in flight; return how many do."""
    joined = 0
    for position, item in enumerate(call.items):
        batch = in_flight.batches.get(item)
        if batch is not None and position not in call.suspects:
            batch.share_equal(_one(call, position))
            call.take_out(position)
            joined += 1
    return joined


def _one(call: Call, position: int) -> Part:
    return Part(call, position, position + 1)
