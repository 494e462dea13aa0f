"""Looks after one upstream: probes whether it answers, and asks it for its limits when it has come up."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from batching.clock import NOW
from batching.errors import (
    InputsInDoubt,
    NoUpstream,
    UpstreamBroke,
    UpstreamError,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from batching.observer import CallReport, Observer
from upstream.api_search import ApiSearch
from upstream.forwarding import FORWARD
from upstream.health import Health, Trials, mistake, weigh
from upstream.identity import Identities
from upstream.member import HUNG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batching.clock import Clock
    from batching.errors import ProxyError
    from upstream.clamp import Clamp
    from upstream.endpoint import AnyEndpoint

log = logging.getLogger(__name__)

#: Seconds one probe may take.
PROBE_TIMEOUT = 2.0
#: Seconds between probes while the upstream is well, and the first and the longest while it is not.
WELL_PERIOD, FIRST_RETRY, LAST_RETRY = 5.0, 0.25, 0.5
#: Seconds for which one probe answers all who ask, however many batches fail.
SHORTEST_PERIOD = 0.1
#: How a call ends that says something of the upstream whatever it asks for.
OUT_OF_REACH = (UpstreamUnavailable, UpstreamBroke, UpstreamGateway)


class UpstreamMonitor(Observer):
    """Probes one upstream in the background, and at once when a call fails or a health check asks.

    A batch that succeeds says more than a probe: it proves that the upstream works, and a probe that is late meanwhile
    met a busy upstream. When the upstream comes (back) up the monitor reads its limits again: another version may allow
    another batch.
    """

    def __init__(
        self,
        endpoint: AnyEndpoint,
        clamp: Clamp,
        clock: Clock,
        observer: Observer | None = None,
        identities: Identities | None = None,
    ) -> None:
        """``identities``: what is known of the models of all upstreams."""
        self._endpoint = endpoint
        self._clamp = clamp
        self._clock = clock
        self._observer = observer or Observer()
        self._identities = identities or Identities()
        # Guards the probe itself: one at a time, and a thread that waited for one uses its answer.
        self._probing = threading.Lock()
        # Guards the state, for a moment; a batcher thread may change it while a probe is under way.
        self._state = threading.Lock()
        self._wake = threading.Event()
        #: Set while no health check has to wait for a look.
        self._looked = threading.Event()
        self._looked.set()
        self._has_thread = False
        self._stopping = False
        self._checked_at = NOW
        self._succeeded_at = NOW
        #: Whether a batch has failed since the last probe began.
        self._doubted = False
        self._trials = Trials()
        self._api = ApiSearch(endpoint)
        self._knows_limits = False
        #: The model that was logged last.
        self._served: str | None = None
        #: Whether its model is another than that of the upstreams before it.
        self._differs = False
        self._was_told = False
        self.ready = False
        #: Why it is not ready.
        self.reason = "it has not been looked at yet"

    @property
    def url(self) -> str:
        """The upstream's address."""
        return self._endpoint.url

    # ---- health checks of this service ----------------------------------------------------------

    def ask(self, max_age: float) -> None:
        """Have the upstream looked at, unless that was done at most ``max_age`` seconds ago.

        The monitor's thread does it; before it runs, the calling thread.
        """
        if not self._has_thread:
            self.check(max_age)
        elif self._clock.now() - max(self._checked_at, self._succeeded_at if self.ready else NOW) > max_age:
            self._looked.clear()
            self._wake.set()

    def await_look(self, longest: float) -> float:
        """Wait for a look that was asked for, ``longest`` seconds at most; return how many of these are left."""
        began = self._clock.now()
        self._clock.wait_for(self._looked, longest)
        return max(0.0, longest - (self._clock.now() - began))

    def check(self, max_age: float) -> bool:
        """Whether the upstream answers, as seen at most ``max_age`` seconds ago; probes if need be."""
        with self._probing:
            if self._clock.now() - self._checked_at > (min(max_age, SHORTEST_PERIOD) if self._doubted else max_age):
                self._doubted = False
                try:
                    self._look()
                finally:
                    self._identities.looked_at(self.url)
            return self.ready

    # ---- one look -------------------------------------------------------------------------------

    def _look(self) -> None:
        began = self._clock.now()
        if self._api.look(PROBE_TIMEOUT, began, has_succeeded=self._succeeded_at != NOW):
            self._changed()
        health = self._health(began) if self._endpoint.speaks else Health(False, self._api.reason)
        if health.is_well and not self._knows_limits:
            self._read_limits()
        difference = self._difference() if health.is_well else None
        self._differs = difference is not None
        if difference is not None:
            health = Health(False, difference)
            self._knows_limits = False  # it may come back with the right model
        self._checked_at = self._clock.now()
        self._become(health)

    def _health(self, began: float) -> Health:
        """Ask for its health, and where that does not tell make a small call; first for its API if it was away."""
        health = self._probe(began)
        is_there = health.is_well or health.is_unknown
        if not is_there:
            self._api.left()
            self._trials.restart()
            return health
        if self._api.has_left and self._api.look_again(PROBE_TIMEOUT):
            self._changed()
            health = self._probe(self._clock.now())
        if health.is_unknown and self._succeeded_at == NOW:
            self._trials.want()
        if (health.is_well or health.is_unknown) and self._trials.are_wanted:
            return self._try_out()
        return Health(is_well=True) if health.is_unknown else health

    def _probe(self, began: float) -> Health:
        health = self._endpoint.health(PROBE_TIMEOUT)
        return weigh(health, began, self._clock.now(), self._succeeded_at, PROBE_TIMEOUT)

    def _try_out(self) -> Health:
        """Make a small call if one is due; where its answer may be that of another API, ask for the API and repeat."""
        if self._trials.is_due(self._clock.now()):
            health = self._endpoint.try_out(PROBE_TIMEOUT)
            if health.is_answered and self._api.look_again(PROBE_TIMEOUT, may_call=True):
                self._changed()
                health = self._endpoint.try_out(PROBE_TIMEOUT)
            if not self._endpoint.speaks:
                return Health(False, self._api.reason)
            self._trials.ended(health, self._clock.now())
        return self._trials.latest

    def _changed(self) -> None:
        """Its API is another: what was learned in the one before says nothing of it."""
        self._succeeded_at = NOW
        self._knows_limits = False
        self._observer.on_dialect(self.url)

    def _difference(self) -> str | None:
        """Say how it differs from the upstreams before it, now that it answers; None if it does not."""
        self._identities.speaks(self.url, self._endpoint.speaks)
        return self._identities.difference(self.url)

    def _read_limits(self) -> None:
        self._knows_limits = True
        if (info := self._endpoint.info(PROBE_TIMEOUT)) is None:
            return
        model = info.model_id or "an unnamed model"
        if model != self._served:
            log.info("upstream serves %s", model)
            self._served = model
        for change in self._clamp.told(self.url, info):
            log.warning("clamped to what the upstream takes: %s", change)

    def _become(self, health: Health) -> None:
        """Take the state on, and tell the observer where it or its reason has changed."""
        with self._state:
            went_away = self.ready and not health.is_well
            has_changed = not self._was_told or (self.ready, self.reason) != (health.is_well, health.reason)
            self.ready, self.reason, self._was_told = health.is_well, health.reason, True
            if went_away:
                self._knows_limits, self._succeeded_at, self._served = False, NOW, None
                if not self._differs:
                    self._endpoint.went_away()
            if has_changed:
                self._observer.on_state(self.url, health.is_well, health.reason)

    # ---- what calls say -------------------------------------------------------------------------

    def on_call(self, report: CallReport) -> None:
        """Learn that a batch succeeded; look again at once when one failed in a way that says something."""
        error = report.error
        # The route of what is passed on needs no model, and may be unknown to the server.
        tells = report.reason != FORWARD or isinstance(error, OUT_OF_REACH)
        if report.upstream == self._endpoint.url and tells:
            self._learn(error, report.latency)

    def _learn(self, error: ProxyError | None, latency: float) -> None:
        if error is None:
            self._succeeded_at = self._clock.now()
            if self._trials.are_wanted:
                self._trials.succeeded()
            if not self.ready and not self._differs:
                # Of several upstreams only a look tells whether this one serves what the others do.
                if not self._identities.are_several:
                    self._become(Health(is_well=True))
                self._wake.set()  # its limits are to be read
            return
        if self._api.is_guess:  # which this may disprove
            self._doubted = True
            self._wake.set()
        if not isinstance(error, UpstreamError) or isinstance(error, InputsInDoubt | NoUpstream):
            return
        if isinstance(error, UpstreamMisconfigured):
            self._doubt(error)
        elif isinstance(error, UpstreamTimeout) and latency >= min(HUNG, self._endpoint.timeout):
            self._trials.want()
        if self.ready:
            self._doubted = True
            self._wake.set()

    def _doubt(self, error: UpstreamMisconfigured) -> None:
        """Have a trial tell whether each call is answered like this, or only those for what one client asks for."""
        if error.reason.startswith("status"):
            self._trials.doubt(self._clock.now())
        else:  # which no trial shows
            self._trials.failed(Health(False, mistake(error)), self._clock.now())

    # ---- the thread -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start probing in a daemon thread."""
        self._has_thread = True
        threading.Thread(target=self._run, name="upstream-monitor", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end; does not wait for a probe under way."""
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        for period in self._periods(self._look_safely):
            self._looked.set()
            self._observer.on_look(self.url)
            self._wake.wait(period)
            self._wake.clear()

    def _look_safely(self) -> bool:
        try:
            return self.check(SHORTEST_PERIOD)
        except Exception:  # a bug of ours must not end the probing for good
            log.exception("looking after upstream %s failed unexpectedly", self._endpoint.url)
            return False

    def _periods(self, probe: Callable[[], bool]) -> Iterator[float]:
        """Yield how long to wait after each probe: steadily while all is well, doubling while it is not."""
        retry = FIRST_RETRY
        while not self._stopping:
            if probe():
                retry = FIRST_RETRY
                # A call that failed just after a look has not been looked at.
                yield SHORTEST_PERIOD if self._doubted else WELL_PERIOD
            else:
                yield retry
                retry = min(2 * retry, LAST_RETRY)
