"""Isolates bad inputs: of a refused batch each bad input gets its verdict, and the others their results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from batching.budget import Budget
from batching.errors import ProxyError, Unresolved, UpstreamPaused, UpstreamProtocolError, UpstreamRejected
from batching.isolation.bisection import Bisection, most_calls
from batching.isolation.verdicts import Verdicts
from batching.outcomes import Again, Outcomes, Result

if TYPE_CHECKING:
    from batching.call import Batch, Call
    from batching.clock import Clock
    from batching.isolation.bisection import Group
    from batching.sender import Sender

#: Extra calls that each ordinary call allows, and those allowed at the start: however many inputs are refused, at least
#: half of the upstream's calls are ordinary ones.
ISOLATION_SHARE, ISOLATION_FLOOR = 1.0, 64.0
#: Extra calls that searches leave to suspects: these have been told to come again, and wait for nothing else.
KEPT_FOR_SUSPECTS = 8.0

#: Takes the position of a first item, and results from there on.
Deliver = Callable[[int, list[Result]], None]


class Isolation:
    """Sends batches, and searches those that are refused: few at a time, within a bounded number of extra calls."""

    def __init__(self, sender: Sender, clock: Clock, at_once: int) -> None:
        """``at_once``: batches that may be searched at the same time; the others wait for their turn."""
        self._sender = sender
        self._clock = clock
        self._turns = threading.Semaphore(at_once)
        self._budget = Budget(ISOLATION_SHARE, ISOLATION_FLOOR)
        self.verdicts = Verdicts(clock)

    def __repr__(self) -> str:
        return f"<Isolation {self._budget}, {self.verdicts}>"

    def admit(self, call: Call) -> None:
        """Look at a call before it is queued: known bad inputs are refused again, suspects will travel by themselves.

        Raises ``UpstreamRejected``.
        """
        verdict, suspects = self.verdicts.look_up(call.key, call.items)
        if verdict is not None:
            raise verdict.copy()
        if suspects:
            call.suspects = suspects

    def send(self, batch: Batch, deliver: Deliver) -> Outcomes:
        """Send a batch and return what became of each item; raises a ``ProxyError`` that is no refusal.

        ``deliver`` is called with the results of each group of a search as they come, so that calls without a bad input
        do not wait for the search to end. A suspect is an extra call that spends from the budget; the budget gets it
        back if the upstream takes the input, or if the suspect goes back to the queue.
        """
        count = len(batch.items)
        if batch.is_suspect and not self._budget.spend():
            return Outcomes.failed(_told(), count)
        try:
            answer = self._sender.send(batch)
        except UpstreamPaused as paused:
            if batch.is_suspect:
                self._budget.give_back()  # it spends again when it is sent again
            return Outcomes.again(paused.answer, count, paused.retry_of)
        except UpstreamRejected as refusal:
            return self._resolve(batch, refusal.bare(), deliver)
        _check(len(answer.results), count)
        if batch.is_suspect:
            self._budget.give_back()
            self.verdicts.clear(batch.key, batch.items[0])
        else:
            self._budget.earn()
        return Outcomes.results(answer.results)

    def _resolve(self, batch: Batch, refusal: UpstreamRejected, deliver: Deliver) -> Outcomes:
        """Find out which inputs of a refused batch are bad; ``refusal`` is the upstream's answer to the whole of it.

        A batch that belongs to one client is not searched: that client's request fails in any case.
        """
        if not batch.is_suspect:
            self._budget.earn()
        size = len(batch.items)
        if size == 1:
            self.verdicts.refused(batch.key, batch.items[0], refusal)
        if all(part.call is batch.parts[0].call for part in batch.parts):
            return Outcomes([refusal.in_full()] * size, refusal, rejected=1, judged=size)
        # Searches must not take the upstream for themselves. The wait ends by the deadline.
        if not self._turns.acquire(timeout=max(0.0, batch.deadline - self._clock.now())):
            return Outcomes([_told()] * size, refusal, rejected=size, judged=size)
        try:
            search = _Search(batch, refusal, deliver, sender=self._sender, budget=self._budget, verdicts=self.verdicts)
            return search.run()
        finally:
            self._turns.release()


class _Search:
    """The search through one refused batch, on the thread that sent it."""

    def __init__(
        self,
        batch: Batch,
        refusal: UpstreamRejected,
        deliver: Deliver,
        *,
        sender: Sender,
        budget: Budget,
        verdicts: Verdicts,
    ) -> None:
        self._sender = sender
        self._budget = budget
        self._verdicts = verdicts
        self._batch = batch
        self._refusal = refusal
        self._deliver = deliver
        # 413 may mean that only the sum was too large: then both halves may be clean, and all that went back would be
        # refused again.
        self._bisection = Bisection(len(batch.items), blames_one=refusal.status != 413, may_return=_returnable(batch))
        self._of: list[Result | ProxyError | Again] = [_told()] * len(batch.items)

    def run(self) -> Outcomes:
        left = most_calls(len(self._batch.items))
        while left and (group := self._bisection.next()) is not None:
            if not self._budget.spend(keep=KEPT_FOR_SUSPECTS):
                self._suspect(group)
                break
            left -= 1
            if not self._ask(group):
                break
        for group in self._bisection.unresolved():
            self._suspect(group)
        for group in self._bisection.returned:
            self._of[group.start : group.stop] = [Again(_told())] * group.size
        rejected, judged = tally(self._of)
        # A refused batch of which all are clean by themselves was too large: that too asks for smaller ones.
        return Outcomes(self._of, self._refusal, max(rejected, 1), judged)

    def _ask(self, group: Group) -> bool:
        """Send a group by itself and note what came of it; return whether the search may go on."""
        subset = self._batch.subset(group.start, group.stop)
        try:
            results = self._sender.send(subset).results
        except UpstreamRejected as refusal:
            self._bisection.refused(group)
            if group.size == 1:
                self._of[group.start] = refusal.bare()
                self._verdicts.refused(self._batch.key, subset.items[0], refusal)
            return True
        except UpstreamPaused as paused:
            again = Again(paused.answer, paused.retry_of)
            self._of[group.start : group.stop] = [again] * group.size
            return False
        except ProxyError as failure:
            # Not the inputs' fault: to go on asking would only add to the trouble.
            self._of[group.start : group.stop] = [failure.bare()] * group.size
            return False
        _check(len(results), group.size)
        self._of[group.start : group.stop] = results
        self._bisection.clean(group)
        self._deliver(group.start, results)
        return True

    def _suspect(self, group: Group) -> None:
        """Give up on a group: each of its calls is told to come again, and its items then travel by themselves."""
        for position in range(group.start, group.stop):
            self._verdicts.suspect(self._batch.key, self._batch.items[position])


def tally(of: list[Result | ProxyError | Again]) -> tuple[int, int]:
    """Count the items of a refused batch that were refused, or left in doubt by too many refusals, and all judged."""
    rejected = sum(isinstance(each, UpstreamRejected) for each in of)
    doubtful = sum(isinstance(each, Unresolved) for each in of)
    unjudged = sum(isinstance(each, Again) for each in of)
    # Where the upstream failed or asked for a pause, those in doubt are so because the search ended early, not because
    # of refusals.
    ended_early = any(_is_trouble(each) for each in of)
    return rejected + (0 if ended_early else doubtful), len(of) - unjudged


def _is_trouble(outcome: Result | ProxyError | Again) -> bool:
    """Whether an item has no result because the upstream failed or asked for a pause."""
    error = outcome.error if isinstance(outcome, Again) else outcome
    return isinstance(error, ProxyError) and not isinstance(error, UpstreamRejected | Unresolved)


def _check(results: int, items: int) -> None:
    # The dialect has checked this; but another client's vector is the worst failure there is.
    if results != items:
        raise UpstreamProtocolError(f"{results} results came for {items} inputs")


def _returnable(batch: Batch) -> Callable[[Group], bool]:
    """Say of a group whether all of it may go back to the queue.

    Items of a call whose rest is in another batch do not: the call would wait for one search after the other.
    """
    rests_elsewhere = [part.stop < len(part.call.items) for part in batch.parts for _ in range(part.start, part.stop)]
    return lambda group: not any(rests_elsewhere[group.start : group.stop])


def _told() -> Unresolved:
    """Return what the client of an input is told that could not be cleared."""
    return Unresolved(
        "the upstream refused the batch that this input was in, and could not be asked about each; try again",
        retry_after=1,
    )
