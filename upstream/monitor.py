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
from upstream.health import Health, Trials, weigh
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
        self._api = ApiSearch(endpoint, self._identities)
        #: Whether it was ready and went away.
        self._has_left = False
        self._knows_limits = False
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
                self._look()
            return self.ready

    # ---- one look -------------------------------------------------------------------------------

    def _look(self) -> None:
        began = self._clock.now()
        self._api.look(PROBE_TIMEOUT, began, has_succeeded=self._succeeded_at != NOW)
        health = self._endpoint.health(PROBE_TIMEOUT) if self._endpoint.speaks else Health(False, self._api.reason)
        now = self._clock.now()
        health = weigh(health, began, now, self._succeeded_at, PROBE_TIMEOUT)
        if health.is_unknown and self._succeeded_at == NOW:
            self._trials.want()
        if (health.is_well or health.is_unknown) and self._trials.are_wanted:
            health = self._try_out(now)
        elif health.is_unknown:
            health = Health(is_well=True)
        if health.is_well and not self._knows_limits:
            self._read_limits()
        difference = self._identities.difference(self.url) if health.is_well else None
        self._differs = difference is not None
        if difference is not None:
            health = Health(False, difference)
            self._knows_limits = False  # it may come back with the right model
        self._checked_at = self._clock.now()
        self._become(health)

    def _try_out(self, now: float) -> Health:
        if self._trials.is_due(now):
            health = self._endpoint.try_out(PROBE_TIMEOUT)
            self._trials.ended(health, self._clock.now())
        return self._trials.latest

    def _read_limits(self) -> None:
        self._knows_limits = True
        if self._has_left:
            self._api.look_again(PROBE_TIMEOUT)
        if (info := self._endpoint.info(PROBE_TIMEOUT)) is None:
            return
        log.info("upstream serves %s", info.model_id or "an unnamed model")
        for change in self._clamp.told(self.url, info):
            log.warning("clamped to what the upstream takes: %s", change)

    def _become(self, health: Health) -> None:
        """Take the state on, and tell the observer where it or its reason has changed."""
        with self._state:
            went_away = self.ready and not health.is_well
            has_changed = not self._was_told or (self.ready, self.reason) != (health.is_well, health.reason)
            self.ready, self.reason, self._was_told = health.is_well, health.reason, True
            if went_away:
                self._knows_limits, self._has_left = False, True
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
                self._become(Health(is_well=True))
                self._wake.set()  # its limits are to be read
            return
        if self._api.is_guess:  # which this may disprove
            self._doubted = True
            self._wake.set()
        if not isinstance(error, UpstreamError) or isinstance(error, InputsInDoubt | NoUpstream):
            return
        if isinstance(error, UpstreamMisconfigured):
            reason = error.reason or str(error)
            told = f"calls are answered with {reason}" if reason.startswith("status") else reason
            self._trials.failed(Health(False, told), self._clock.now())
        elif isinstance(error, UpstreamTimeout) and latency >= min(HUNG, self._endpoint.timeout):
            self._trials.want()
        if self.ready:
            self._doubted = True
            self._wake.set()

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
                yield WELL_PERIOD
            else:
                yield retry
                retry = min(2 * retry, LAST_RETRY)
