"""Isolates bad inputs: when the upstream refuses a batch, the guilty get its verdict and the others their vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from batching.budget import Budget
from batching.errors import ProxyError, Unjudged, Unresolved, UpstreamProtocolError, UpstreamRejected
from batching.isolation.bisection import Bisection, most_calls
from batching.isolation.verdicts import Verdicts

if TYPE_CHECKING:
    from batching.batcher import Upstream
    from batching.call import Batch, Call
    from batching.clock import Clock
    from batching.isolation.bisection import Group

#: Extra calls that each ordinary call allows, and those allowed at the start: however much poison comes, at least half
#: of the upstream's calls are ordinary ones.
ISOLATION_SHARE, ISOLATION_FLOOR = 1.0, 64.0


#: Takes the position of a first item, and results from there on.
Deliver = Callable[[int, list[bytes]], None]


class Outcomes(NamedTuple):
    """What became of a batch's items: one result each, empty where ``errors`` has the item's position."""

    results: list[bytes]
    errors: dict[int, ProxyError]


class Isolation:
    """Searches refused batches, few at a time, within a bounded number of extra calls."""

    def __init__(self, upstream: Upstream, clock: Clock, at_once: int) -> None:
        """``at_once``: batches that may be searched at the same time; the others wait for their turn."""
        self._upstream = upstream
        self._clock = clock
        self._turns = threading.Semaphore(at_once)
        self._budget = Budget(ISOLATION_SHARE, ISOLATION_FLOOR)
        self.verdicts = Verdicts(clock)

    def admit(self, call: Call) -> None:
        """Look at a call before it is queued: what was refused a moment ago is refused again, suspects go alone.

        Raises ``UpstreamRejected``.
        """
        verdict, suspected = self.verdicts.look_up(call.key.together, call.items)
        if verdict is not None:
            raise verdict.copy()
        if suspected:
            call.key = call.key.apart

    def passed(self, batch: Batch) -> None:
        """Count a batch that the upstream took as it was."""
        self._earn(batch)
        if batch.key.alone:
            self.verdicts.clear(batch.key.together, batch.items[0])

    def resolve(self, batch: Batch, refusal: UpstreamRejected, deliver: Deliver) -> Outcomes:
        """Find out who of a refused batch is guilty; ``refusal`` is the upstream's answer to the whole of it.

        ``deliver`` is called with each group's results as they come: the innocent need not wait for the guilty. A batch
        that belongs to one client is not searched: that client's request fails in any case.
        """
        self._earn(batch)
        size = len(batch.items)
        if size == 1:
            self.verdicts.convict(batch.key.together, batch.items[0], refusal)
        if len(batch.parts) == 1:
            return Outcomes([b""] * size, {0: refusal.in_full()})
        # Searches must not take the upstream for themselves. The wait ends by the deadline.
        if not self._turns.acquire(timeout=max(0.0, batch.deadline - self._clock.now())):
            return Outcomes([b""] * size, dict.fromkeys(range(size), _told(Unresolved)))
        try:
            return self._search(batch, refusal, deliver)
        finally:
            self._turns.release()

    def _earn(self, batch: Batch) -> None:
        if not batch.key.alone:  # what travels alone is the end of a search rather than an ordinary call
            self._budget.earn()

    def _search(self, batch: Batch, refusal: UpstreamRejected, deliver: Deliver) -> Outcomes:
        size = len(batch.items)
        outcomes = Outcomes([b""] * size, {})
        # 413 may mean that only the sum was too large: then both halves may be clean, and all that returned would be
        # refused again.
        bisection = Bisection(size, blames_one=refusal.status != 413, may_return=_returnable(batch))
        left = most_calls(size)
        while left and (group := bisection.next()) is not None:
            if not self._budget.spend():
                self._leave(batch, outcomes, group)
                break
            left -= 1
            if not self._ask(batch, group, bisection, outcomes):
                break
            if group.start not in outcomes.errors and outcomes.results[group.start]:
                deliver(group.start, outcomes.results[group.start : group.stop])
        for group in bisection.unresolved():
            self._leave(batch, outcomes, group)
        for group in bisection.returned:
            outcomes.errors.update(dict.fromkeys(range(*group), _told(Unjudged)))
        return outcomes

    def _ask(self, batch: Batch, group: Group, bisection: Bisection, outcomes: Outcomes) -> bool:
        """Send a group by itself and take down what came of it; return whether the search may go on."""
        part = batch.part(group.start, group.stop)
        try:
            results = self._upstream.send(part)
        except UpstreamRejected as refusal:
            bisection.refused(group)
            if group.size == 1:
                outcomes.errors[group.start] = refusal.bare()
                self.verdicts.convict(batch.key.together, part.items[0], refusal)
            return True
        except ProxyError as failure:
            # Not the inputs' fault: to go on asking would only add to the trouble.
            outcomes.errors.update(dict.fromkeys(range(group.start, group.stop), failure.bare()))
            return False
        if len(results) != group.size:
            raise UpstreamProtocolError(f"{len(results)} results came for {group.size} inputs")
        outcomes.results[group.start : group.stop] = results
        bisection.clean(group)
        return True

    def _leave(self, batch: Batch, outcomes: Outcomes, group: Group) -> None:
        """Give up on a group: it is told to come again, and will then travel alone."""
        unresolved = _told(Unresolved)
        for position in range(*group):
            outcomes.errors[position] = unresolved
            self.verdicts.suspect(batch.key.together, batch.items[position])


def _returnable(batch: Batch) -> Callable[[Group], bool]:
    """Say of a group whether the queue can take all of it back: not the items of a call whose rest is elsewhere."""
    rests_elsewhere = [part.stop < len(part.call.items) for part in batch.parts for _ in range(part.start, part.stop)]
    return lambda group: not any(rests_elsewhere[group.start : group.stop])


def _told(error: type[Unresolved]) -> Unresolved:
    """Return what the client of an input is told that could not be cleared."""
    return error(
        "the upstream refused the batch that this input was in, and could not be asked about each; try again",
        retry_after=1,
    )
