"""Isolates bad inputs: when the upstream refuses a batch, the guilty get its verdict and the others their vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from batching.bisection import Bisection, most_calls
from batching.budget import Budget
from batching.errors import InDoubt, ProxyError, Unresolved, UpstreamProtocolError, UpstreamRejected
from batching.verdicts import Verdicts

if TYPE_CHECKING:
    from batching.batcher import Upstream
    from batching.bisection import Group
    from batching.call import Batch, Call
    from batching.clock import Clock

#: Extra calls that each ordinary call allows, and those allowed at the start: however much poison comes, at least half
#: of the upstream's calls are ordinary ones.
ISOLATION_SHARE, ISOLATION_FLOOR = 1.0, 64.0
#: Share of a batch that may be in doubt after a search for the proxy to ask about each: beyond it most of the batch is
#: guilty, and to ask would spend what is left for those who are not.
FEW_IN_DOUBT = 0.75

#: Takes the position of a first item, and results from there on.
Deliver = Callable[[int, list[bytes]], None]


class Outcomes(NamedTuple):
    """What became of a batch's items: one result each, empty where ``errors`` has the item's position."""

    results: list[bytes]
    errors: dict[int, ProxyError]


class Isolation:
    """Searches refused batches, few at a time, within a bounded number of extra calls."""

    def __init__(self, upstream: Upstream, clock: Clock, at_once: int = 1) -> None:
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
        bisection = Bisection(size)
        left = most_calls(size)
        # 413 may mean that only the sum was too large: then both halves may be clean.
        blames_one = refusal.status != 413
        well = True
        while well and left and (group := bisection.next()) is not None:
            if not self._budget.spend():
                well = False
                self._leave(batch, outcomes, range(*group))
            else:
                left -= 1
                well = self._ask(batch, group, bisection, outcomes, blames_one=blames_one)
            if group.start not in outcomes.errors and outcomes.results[group.start]:
                deliver(group.start, outcomes.results[group.start : group.stop])
        in_doubt = [position for group in bisection.unresolved() for position in range(*group)]
        self._leave(batch, outcomes, in_doubt, may_return=well and len(in_doubt) <= FEW_IN_DOUBT * size)
        return outcomes

    def _ask(self, batch: Batch, group: Group, bisection: Bisection, outcomes: Outcomes, *, blames_one: bool) -> bool:
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
        bisection.clean(group, implies_other=blames_one)
        return True

    def _leave(self, batch: Batch, outcomes: Outcomes, positions: Iterable[int], *, may_return: bool = False) -> None:
        """Give up on the inputs at these positions: each travels alone from now on.

        ``may_return``: at once, without a word to its client, as far as the budget allows a call for each.
        """
        for position in positions:
            returns = may_return and self._budget.spend()
            outcomes.errors[position] = _told(InDoubt if returns else Unresolved)
            self.verdicts.suspect(batch.key.together, batch.items[position])


def _told(error: type[Unresolved]) -> Unresolved:
    """Return what the client of an input is told that could not be cleared."""
    return error(
        "the upstream refused the batch that this input was in, and could not be asked about each; try again",
        retry_after=1,
    )
