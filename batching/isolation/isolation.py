"""Isolates bad inputs: of a batch each bad input gets its verdict, and the others their results."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from batching.budget import Budget
from batching.errors import DeadlineExceeded, InputsInDoubt, UpstreamFailed, UpstreamPaused, UpstreamRejected
from batching.isolation.evidence import Record
from batching.isolation.search import FAILED, Resources, Search, check, told
from batching.isolation.verdicts import Verdicts
from batching.observer import Observer
from batching.outcomes import Again, Outcomes

if TYPE_CHECKING:
    from batching.call import Batch, Call
    from batching.clock import Clock
    from batching.isolation.search import Deliver
    from batching.outcomes import Answer
    from batching.sender import Sender

#: Extra calls that each ordinary call allows, and those allowed at the start: however many inputs are refused, at least
#: half of the upstream's calls are ordinary ones.
ISOLATION_SHARE, ISOLATION_FLOOR = 1.0, 64.0
#: Calls that failed in a row, over all batches, after which only one failed batch is searched at a time: should the
#: upstream be to blame, few calls are to show it.
DOUBTFUL = 2
#: Items of a batch that are not searched after a failure: each goes back to the queue and travels by itself.
FEW = 4


class Isolation(Observer):
    """Sends batches, and searches those that an input may have spoilt: few at a time, within a bounded number of calls.

    The signs of a bad input are a refusal (400, 413, 422), a failure while the upstream worked on the inputs (500, 424)
    and a row of the answer that is no vector.
    """

    def __init__(self, sender: Sender, clock: Clock, at_once: int) -> None:
        """``at_once``: batches that may be searched at the same time; the others wait for their turn."""
        self._sender = sender
        self._clock = clock
        self._turns = threading.Semaphore(at_once)
        # Held by a search while it is doubtful whether an input or the upstream is to blame.
        self._doubt = threading.Semaphore(1)
        self._budget = Budget(ISOLATION_SHARE, ISOLATION_FLOOR)
        self._record = Record()
        self.verdicts = Verdicts(clock, self._record)

    def __repr__(self) -> str:
        return f"<Isolation {self._budget}, {self.verdicts}, {self._record}>"

    def on_dialect(self, upstream: str) -> None:  # noqa: ARG002
        """Forget what was held against inputs: it may have been the form of the calls."""
        self.verdicts.forget()

    def admit(self, call: Call) -> None:
        """Look at a call before it is queued: known bad inputs are refused again, suspects will travel by themselves.

        Raises ``InputsInDoubt``.
        """
        verdict, suspects = self.verdicts.look_up(call.key, call.items)
        if verdict is not None:
            raise verdict.copy()
        if suspects:
            call.suspects = suspects

    def send(self, batch: Batch, deliver: Deliver) -> Outcomes:
        """Send a batch and return what became of each item; raises a ``ProxyError`` that no input has caused.

        ``deliver`` is called with the results of each group of a search as they come, so that calls without a bad input
        do not wait for the search to end. A suspect is an extra call that spends from the budget; the budget gets it
        back if the upstream takes the input, or if the suspect goes back to the queue. An input that rides alone only
        for its length is an ordinary call.
        """
        count = len(batch.items)
        is_extra = batch.is_suspect and not self.verdicts.is_long(batch.key, batch.items[0])
        if is_extra and not self._budget.spend():
            return Outcomes.failed(told(), count)
        try:
            answer = self._sender.send(batch)
        except UpstreamPaused as paused:
            if is_extra:
                self._budget.give_back()  # it spends again when it is sent again
            return Outcomes.again(paused.answer, count, paused.retry_of)
        except InputsInDoubt as problem:
            if isinstance(problem, UpstreamRejected) and problem.is_cut:
                return _cut(batch, problem.bare())
            return self._resolve(batch, problem.bare(), deliver, is_extra=is_extra)
        check(len(answer.results), count)
        self._record.succeeded(self._clock.now())
        self._clear(batch, answer)
        if is_extra:
            self._budget.give_back()
        else:
            self._budget.earn()
        if answer.tokens is not None:
            batch.share_tokens(0, count, answer.tokens)
        if answer.bad:
            no_vector = UpstreamFailed("the upstream gave no vector for this input")
            return self._search(batch, no_vector, deliver).mend(answer)
        return Outcomes.results(answer.results, answer.source)

    def _clear(self, batch: Batch, answer: Answer) -> None:
        """Forget what was held against the items of a batch that the upstream has taken."""
        if batch.is_suspect:
            self.verdicts.clear(batch.key, batch.items[0])
        elif not answer.bad:
            self.verdicts.taken(batch.key, batch.items)

    def _resolve(self, batch: Batch, problem: InputsInDoubt, deliver: Deliver, *, is_extra: bool) -> Outcomes:
        """Find out which inputs of a batch are bad; ``problem`` is the upstream's answer to the whole of it.

        A batch that belongs to one client is not searched: that client's request fails in any case.
        """
        is_refusal = isinstance(problem, UpstreamRejected)
        if is_refusal and not is_extra:
            self._budget.earn()
        if not is_refusal:
            self._record.failed()
        size = len(batch.items)
        if size == 1:
            remember = self.verdicts.refused if is_refusal else self.verdicts.failed
            remember(batch.key, batch.items[0], problem)
            if batch.is_suspect and not is_extra:  # it says nothing about those that ride together
                return Outcomes([problem.in_full()], problem)
        # A failure makes batches smaller, as a refusal does, though the upstream may be to blame: in a flood of bad
        # texts searches of large batches would run out of calls, and after an outage some hundred good items undo it.
        if all(part.call is batch.parts[0].call for part in batch.parts):
            return Outcomes([problem.in_full()] * size, problem, rejected=1, judged=size)
        if not is_refusal and size <= FEW and batch.retry_reason is None:
            # A search of so few takes nearly as many calls, one after the other.
            return Outcomes([Again(problem, FAILED, alone=True)] * size, problem, rejected=1, judged=size)
        # Searches must not take the upstream for themselves. The wait ends by the deadline.
        turns: list[threading.Semaphore] = [self._turns]
        if not is_refusal and self._record.failures >= DOUBTFUL:
            turns.append(self._doubt)
        with ExitStack() as held:
            for turn in turns:
                if not turn.acquire(timeout=max(0.0, batch.deadline - self._clock.now())):
                    return Outcomes([told() if is_refusal else problem] * size, problem, rejected=size, judged=size)
                held.callback(turn.release)
            return self._search(batch, problem, deliver).run()

    def _search(self, batch: Batch, problem: InputsInDoubt, deliver: Deliver) -> Search:
        resources = Resources(self._sender, self._clock, self._budget, self.verdicts, self._record)
        return Search(batch, problem, deliver, resources)


def _cut(batch: Batch, problem: UpstreamRejected) -> Outcomes:
    """Let all items of a batch that was too large as a whole ride in smaller ones; none of them is suspected."""
    text = "the upstream takes only smaller calls, and no time was left to send this input again"
    return Outcomes([Again(DeadlineExceeded(text))] * len(batch.items), problem)
