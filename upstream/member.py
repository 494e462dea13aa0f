"""One upstream as the pool sees it: how it fares, and how many batches it may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.call import Batch
from batching.capacity import Slots
from batching.clock import NOW
from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from upstream.breaker import Breaker, State
from upstream.busy import QuotaExhausted, RateLimited
from upstream.rations import Rations
from upstream.window import Window

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from batching.call import Item
    from batching.key import BatchKey
    from upstream.endpoint import AnyEndpoint

#: Longest (s) that an upstream is left alone because it asked for it: then it is asked again how it is.
LONGEST_PAUSE = 60.0
#: A call that timed out sooner (s) than this had little time, and says nothing about the upstream.
HUNG = 5.0
#: Seconds until an upstream that could not be reached is tried again at latest.
RETRY_SOON = 0.5
#: The reason of a call that repeats an accepted input, and the longest (bytes) that is kept for that.
WITNESS, LONGEST_WITNESS = "witness", 4096


class Member:
    """An endpoint and how it fares. The pool's lock guards it."""

    def __init__(self, endpoint: AnyEndpoint, most_in_flight: int, *, has_others: bool) -> None:
        self.endpoint = endpoint
        self.breaker = Breaker()
        self.window = Window(most_in_flight)
        self.in_flight = 0
        self.calls = 0
        #: Requests under way that are passed on beside its batches.
        self.forwards = 0
        #: It has asked to be left alone until this moment.
        self.not_before = NOW
        #: Whether its monitor has seen it answer. True at the start: the first batches need not wait for the monitor.
        self.is_up = True
        #: When its latest probe began.
        self.probed_at = NOW
        #: How its latest call ended that counted against it.
        self.last_error: UpstreamError | None = None
        self._succeeded_at = NOW
        #: An input that it has accepted, and its key: if it fails on that one too, no input is to blame.
        self._witness: tuple[BatchKey, Item] | None = None
        self._is_asking_witness = False
        self._asked_at = NOW
        self._has_others = has_others
        #: What its account lets its calls do.
        self.rations = Rations()
        #: Tokens that it has counted.
        self.tokens = 0

    def __repr__(self) -> str:
        up = "up" if self.is_up else "down"
        return f"<{self.endpoint.url}: {up}, {self.in_flight} in flight, {self.breaker}, {self.window}>"

    @property
    def probe_due(self) -> float:
        """When one batch may try it, while it is ejected."""
        return max(self.breaker.until, self.not_before)

    @property
    def answers_badly(self) -> bool:
        """Whether it can be reached, and only its answers are of no use."""
        return isinstance(self.last_error, UpstreamFailed | UpstreamProtocolError | UpstreamMisconfigured)

    def wants_probe(self, now: float) -> bool:
        """Whether one batch is to try it."""
        return self.breaker.wants_probe(now) and self.not_before <= now

    def readmit(self) -> None:
        """It was seen to answer: if it is ejected it may be tried at once, even where it had asked for a pause."""
        if not self.breaker.is_closed:
            self.breaker.readmit()
            self.not_before = NOW

    def leaves(self, batch: Batch, now: float) -> bool:
        """Count a call in that is made now; return whether its calls are paced by that from now on."""
        self.in_flight += 1
        self.calls += 1
        return self.rations.are_limited and self.rations.leaves(batch, now)

    def give_back(self, batch: Batch | None, now: float) -> None:
        """Count a call out that says nothing of the upstream."""
        self.in_flight -= 1
        self.breaker.ignore()
        if batch is not None:
            self.rations.give_back(batch, now)

    def may_have_call(self, now: float) -> bool:
        """Whether neither it nor its limits stand in the way of a call."""
        return self.not_before <= now and (not self.rations.are_limited or self.rations.may_leave(now, self.in_flight))

    def opens_at(self, now: float) -> float:
        """Return when a call may leave, as far as it has asked for a pause and its limits say so."""
        return max(now, self.not_before, self.rations.opens_at(now))

    def is_steady(self, now: float) -> bool:
        """Whether its slots do not depend on its calls in flight."""
        if self.rations.are_limited or not self.breaker.is_closed or self.breaker.is_doubtful or not self.is_up:
            return False
        return self.not_before <= now and self.in_flight <= self.window.size

    @property
    def most_in_flight(self) -> int:
        """Batches that it may have at once: one while it is doubtful whether it works."""
        return 1 if self.breaker.is_doubtful else self.window.size

    def slots(self, now: float) -> Iterator[Slots]:
        """Yield how many batches it may have, and from when on.

        Calls that are under way count even where no other may follow them: they hold none of the others' slots.
        """
        yield Slots(NOW, self.in_flight)
        if self.breaker.is_closed:
            start = NOW if self.not_before <= now else self.not_before
            room = max(self.most_in_flight - self.in_flight, 0)
            if self.rations.are_limited:
                yield from self.rations.slots(start, room, self.in_flight, now)
            else:
                yield Slots(start, room)
        elif self.breaker.state is State.OPEN:
            yield Slots(self.probe_due, 1)

    def witness(self, batch: Batch, error: UpstreamError, now: float) -> Batch | None:
        """Return a call that tells whether the upstream or this batch's inputs are to blame for the failure.

        It holds an input that the upstream has accepted; none where it has accepted none yet. None where the failure
        would not eject the upstream, and while another thread makes that call.
        """
        if self._is_asking_witness or not isinstance(error, UpstreamFailed):
            return None
        if not self.breaker.would_open(batch.items):
            return None
        self._is_asking_witness = True
        self._asked_at = now
        key, item = self._witness or (batch.key, None)
        call = Batch(key, WITNESS, now)
        call.items = [] if item is None else [item]
        return call

    def heard_witness(self, *, is_well: bool) -> None:
        """Learn from the call that ``witness`` returned: the failures before it were the inputs', or were not."""
        self._is_asking_witness = False
        if is_well:
            self.breaker.succeeded()

    def ended(
        self,
        batch: Batch,
        error: UpstreamError | None,
        began: float,
        now: float,
        *,
        bad: Container[int] = (),
        tokens: int | None = None,
    ) -> bool:
        """Learn from a call that began at the moment ``began``; return whether it ejects the upstream.

        ``bad``: positions of the items without a result. ``tokens``: as the upstream has counted them.
        """
        self.in_flight -= 1
        if tokens is not None:
            self.tokens += tokens
        if self.rations.are_limited or isinstance(error, RateLimited | QuotaExhausted):
            self.rations.ended(batch, error, began, now, tokens=tokens)
        if error is None:
            accepted = batch.items[0] if not bad else next(item for at, item in enumerate(batch.items) if at not in bad)
            if len(accepted) <= LONGEST_WITNESS:
                self._witness = batch.key, accepted
        if error is None or isinstance(error, UpstreamRejected):
            if self.breaker.is_closed:
                self.window.grow()
            self.breaker.succeeded()
            self._succeeded_at = now
            return False
        return self._heard(error, batch.items, began, now)

    def failed_beside(self, error: UpstreamError, body: Item, began: float, now: float) -> bool:
        """Learn from a request beside the batches that failed, and was not why; return whether it ejects the upstream.

        ``body``: of the request. While a batch tries it, only that one's end counts.
        """
        if self.wants_probe(now):
            self.breaker.probe()
        elif not self.breaker.is_closed:
            return False
        return self._heard(error, [body], began, now)

    def answered_beside(self, now: float) -> bool:
        """Learn from a request beside the batches that is answered; return whether the upstream gets calls again.

        It shows that the upstream can be reached; where calls were answered badly, they have to show the rest.
        """
        if self.answers_badly or not self.wants_probe(now):
            return False
        self.breaker.succeeded()
        return True

    def _heard(self, error: UpstreamError, items: Sequence[Item], began: float, now: float) -> bool:
        ejected = self._failed(error, items, began, now)
        if error.pause is not None and not isinstance(error, RateLimited | QuotaExhausted):
            self.window.cut(began, now)
            # Where it names no time and there are others, these get the batches for a moment.
            pause = error.pause or (RETRY_SOON if self._has_others else 0.0)
            if pause:
                self.not_before = max(self.not_before, now + min(pause, LONGEST_PAUSE))
        return ejected

    def _failed(self, error: UpstreamError, items: Sequence[Item], began: float, now: float) -> bool:
        hangs = isinstance(error, UpstreamTimeout) and now - began >= min(HUNG, self.endpoint.timeout)
        is_mistake = isinstance(error, UpstreamMisconfigured)
        if isinstance(error, UpstreamOverloaded | QuotaExhausted) or (isinstance(error, UpstreamTimeout) and not hangs):
            self.breaker.ignore()
            return False
        self.last_error = error
        if is_mistake and not self._has_others:
            # Nothing is gained by leaving it out: clients are told of the mistake until it is mended.
            self.breaker.ignore()
            return False
        # An upstream that answers nothing for so long has hung, unless others of its calls came back meanwhile.
        at_once = hangs and self._has_others and self._succeeded_at < began
        if self._is_asking_witness and isinstance(error, UpstreamFailed) and now - self._asked_at < HUNG:
            return False  # its answer says more than this failure, unless it never comes
        # No input can be the cause where none was looked at.
        inputs = None if is_mistake or isinstance(error, UpstreamUnavailable) else items
        is_between = isinstance(error, UpstreamGateway | UpstreamBroke)
        ejects = self.breaker.failed(now, inputs, at_once=at_once, is_between=is_between)
        if ejects and (is_between or isinstance(error, UpstreamUnavailable)):
            self.breaker.retry_by(now + RETRY_SOON)  # it has nothing to do, and calls wait for it
        return ejects
