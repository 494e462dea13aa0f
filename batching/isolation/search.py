"""Searches one batch that an input has spoilt, on the thread that sent it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from batching.errors import (
    InputsInDoubt,
    ProxyError,
    Unresolved,
    UpstreamFailed,
    UpstreamPaused,
    UpstreamProtocolError,
    UpstreamRejected,
)
from batching.isolation.bisection import Bisection, Group, most_calls
from batching.outcomes import UNKNOWN, Again, Answer, Outcomes, Result, Source

if TYPE_CHECKING:
    from batching.budget import Budget
    from batching.call import Batch
    from batching.clock import Clock
    from batching.isolation.evidence import Record
    from batching.isolation.verdicts import Verdicts
    from batching.sender import Sender

#: Extra calls that searches leave to suspects: these have been told to come again, and wait for nothing else.
KEPT_FOR_SUSPECTS = 8.0
#: Calls that fail in a row, over all batches, after which the upstream is more likely to blame than an input.
MOST_FAILURES = 5
#: Why an item is sent again by itself after a search that failures ended.
FAILED = "failed"

#: Takes the position of a first item, results from there on, and which model gave them.
Deliver = Callable[[int, list[Result], Source], None]


class Resources(NamedTuple):
    """What the searches of all batches share."""

    sender: Sender
    clock: Clock
    budget: Budget
    verdicts: Verdicts
    record: Record


class Search:
    """The search through one batch: ``run`` after a refusal or failure of the whole, ``mend`` after single bad rows."""

    def __init__(self, batch: Batch, problem: InputsInDoubt, deliver: Deliver, resources: Resources) -> None:
        """``problem``: how the call of the whole batch ended."""
        self._batch = batch
        self._problem = problem
        self._deliver = deliver
        self._sender, self._clock, self._budget, self._verdicts, self._record = resources
        self._is_refusal = isinstance(problem, UpstreamRejected)
        count = len(batch.items)
        rest: ProxyError = told() if self._is_refusal else problem
        self._of: list[Result | ProxyError | Again] = [rest] * count
        #: Positions whose input the upstream refused, or failed on, by itself.
        self._blamed: set[int] = set()
        #: Positions for which a call with others gave no vector; each is asked by itself.
        self._bad_rows: list[int] = []
        self._source = UNKNOWN
        self._left = most_calls(count) if count > 1 else 1

    def run(self) -> Outcomes:
        """Find the bad inputs of a batch that failed as a whole."""
        # Where only the sum may be too large both halves may be clean, and all that went back would be refused again.
        blames_one = not (isinstance(self._problem, UpstreamRejected) and self._problem.concerns_size)
        bisection = Bisection(len(self._batch.items), blames_one=blames_one, may_return=_returnable(self._batch))
        goes_on = True
        while goes_on and (group := bisection.next()) is not None:
            if not self._may_ask():
                self._give_up(group)
                break
            goes_on = self._ask(group, bisection)
        for group in bisection.unresolved():
            self._give_up(group)
        for group in bisection.returned:
            self._of[group.start : group.stop] = [Again(told())] * group.size
        self._ask_bad_rows()
        return self._outcomes()

    def mend(self, answer: Answer) -> Outcomes:
        """Hand out the results of an answer in which some rows are bad, and ask for each of those by itself.

        Some models give no vector for an input only where it is padded beside longer ones.
        """
        self._take(Group(0, len(self._batch.items)), answer)
        self._ask_bad_rows()
        return self._outcomes()

    # ---- one call -------------------------------------------------------------------------------

    def _may_ask(self) -> bool:
        """Whether another call may be made, and count it."""
        if self._left <= 0 or self._clock.now() > self._batch.deadline or self._is_upstream_to_blame:
            return False
        self._left -= 1
        return self._budget.spend(keep=KEPT_FOR_SUSPECTS)

    @property
    def _is_upstream_to_blame(self) -> bool:
        return self._record.failures >= MOST_FAILURES

    def _ask(self, group: Group, bisection: Bisection | None = None) -> bool:
        """Send a group by itself and note what came of it; return whether the search may go on."""
        subset = self._batch.subset(group.start, group.stop)
        try:
            answer = self._sender.send(subset)
        except InputsInDoubt as problem:
            if bisection is not None:
                bisection.refused(group)
            if group.size == 1:
                self._blame(group.start, problem.bare())
            if isinstance(problem, UpstreamFailed):
                self._record.failed()
            return True
        except UpstreamPaused as paused:
            again = Again(paused.answer, paused.retry_of)
            self._of[group.start : group.stop] = [again] * group.size
            return False
        except ProxyError as failure:
            # Not the inputs' fault: to go on asking would only add to the trouble.
            self._of[group.start : group.stop] = [failure.bare()] * group.size
            return False
        check(len(answer.results), group.size)
        self._record.succeeded(self._clock.now())
        self._take(group, answer)
        if bisection is not None:
            bisection.clean(group)
        return True

    def _ask_bad_rows(self) -> None:
        for position in self._bad_rows:
            if not (self._may_ask() and self._ask(Group(position, position + 1))):
                break

    # ---- what it says ---------------------------------------------------------------------------

    def _take(self, group: Group, answer: Answer) -> None:
        """Keep the results of a call and hand them out, but for rows that are bad."""
        if self._source.differs_from(answer.source):
            # Another upstream, with another model.
            mixed = UpstreamProtocolError("the upstreams gave vectors of different models for one batch")
            self._of[group.start : group.stop] = [mixed] * group.size
            return
        self._source = self._source.completed_by(answer.source)
        if answer.tokens is not None:
            self._batch.share_tokens(group.start, group.stop, answer.tokens)
        start = 0
        for bad in [*sorted(answer.bad), group.size]:
            if results := answer.results[start:bad]:
                first = group.start + start
                self._of[first : first + len(results)] = results
                self._deliver(first, results, answer.source)
            if bad < group.size:
                why = f"the upstream gave no vector for this input: {answer.bad[bad]}"
                self._of[group.start + bad] = UpstreamFailed(why)
                self._bad_rows.append(group.start + bad)
            start = bad + 1

    def _blame(self, position: int, problem: InputsInDoubt) -> None:
        self._of[position] = problem
        self._blamed.add(position)
        remember = self._verdicts.refused if isinstance(problem, UpstreamRejected) else self._verdicts.failed
        remember(self._batch.key, self._batch.items[position], problem)

    def _give_up(self, group: Group) -> None:
        """Leave a group without a judgement.

        After a refusal each of its calls is told to come again, and its items travel by themselves then. After a
        failure they do so at once, out of the queue: if the upstream is to blame, they fail one by one, which is what
        ejects it.
        """
        if self._is_refusal:
            for position in range(group.start, group.stop):
                self._verdicts.suspect(self._batch.key, self._batch.items[position])
        elif not isinstance(self._of[group.start], Again):
            self._of[group.start : group.stop] = [Again(self._problem, FAILED, alone=True)] * group.size

    def _outcomes(self) -> Outcomes:
        rejected, judged = tally(self._of, len(self._blamed))
        # A refused batch of which all are clean by themselves was too large: that too asks for smaller ones.
        return Outcomes(self._of, self._problem, max(rejected, 1), judged, self._source)


def tally(of: list[Result | ProxyError | Again], blamed: int) -> tuple[int, int]:
    """Count the items of a batch that are bad, or left in doubt by too many refusals, and all that were judged.

    ``blamed``: those that are known to be bad.
    """
    doubtful = sum(isinstance(each, Unresolved) for each in of)
    unjudged = sum(isinstance(each, Again) for each in of)
    # Where the upstream failed or asked for a pause, those in doubt are so because the search ended early, not because
    # of refusals.
    ended_early = any(_is_trouble(each) for each in of)
    return blamed + (0 if ended_early else doubtful), len(of) - unjudged


def _is_trouble(outcome: Result | ProxyError | Again) -> bool:
    """Whether an item has no result because the upstream failed or asked for a pause."""
    error = outcome.error if isinstance(outcome, Again) else outcome
    return isinstance(error, ProxyError) and not isinstance(error, InputsInDoubt | Unresolved)


def check(results: int, items: int) -> None:
    """Raise ``UpstreamProtocolError`` unless there is a result for each item."""
    # The dialect has checked this; but another client's vector is the worst failure there is.
    if results != items:
        raise UpstreamProtocolError(f"{results} results came for {items} inputs")


def _returnable(batch: Batch) -> Callable[[Group], bool]:
    """Say of a group whether all of it may go back to the queue.

    Items of a call whose rest is in another batch do not: the call would wait for one search after the other.
    """
    rests_elsewhere = [part.stop < len(part.call.items) for part in batch.parts for _ in range(part.start, part.stop)]
    return lambda group: not any(rests_elsewhere[group.start : group.stop])


def told() -> Unresolved:
    """Return what the client of an input is told that could not be cleared."""
    return Unresolved(
        "the upstream refused, or failed on, the batch that this input was in, and could not be asked about each; "
        "try again",
        retry_after=1,
    )
