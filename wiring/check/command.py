"""`python app.py check`: reads the settings, asks the upstreams, measures them, and says what it found.

Exit status 0: an upstream is ready. 1: none is. 2: the settings or the command line are wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from batching import SystemClock
from batching.errors import ProxyError
from batching.observer import Observer
from config import SettingsError, __version__, banner, banner_members, load_settings, sizing_problems
from config.active import activate, active
from config.fitting import fit
from upstream.identity import Identities
from wiring import upstreams
from wiring.check import measuring, picture
from wiring.check.findings import UpstreamFindings, pair_members, table
from wiring.check.payoff import Pair, advice, verdict
from wiring.check.progress import Progress
from wiring.master import embedded_upstream, machine, raise_open_files_limit
from wiring.service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config import Settings
    from upstream.endpoint import Endpoint

READY, NOT_READY, WRONG_SETTINGS = 0, 1, 2
#: Seconds that an upstream has for telling what it is.
ASKING = 10.0
#: What the two windows of a crowd take, in windows of calls of one size.
STEPS_OF_CROWD = 8
#: Calls under way at once that the endpoints have connections for.
_CONNECTIONS = max(measuring.CLIENTS)


def main(argv: Sequence[str]) -> int:
    """Run the check; ``argv`` without the word itself. Return the exit status."""
    options, rest = _parser().parse_known_args(argv)
    plot = None
    if options.png is not None:
        try:
            plot = picture.pyplot()
        except ImportError:
            sys.stderr.write(picture.MISSING + "\n")
            return WRONG_SETTINGS
    try:
        settings = _settings(rest)
    except SettingsError as problem:
        sys.stderr.write(f"{problem}\n")
        return WRONG_SETTINGS
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(message)s")
    activate(settings)
    embedded_upstream.ensure()
    try:
        check = Check(active(), out=sys.stderr if options.json else sys.stdout, is_quick=options.quick)
        check.run()
    finally:
        embedded_upstream.stop()
    if options.json:
        json.dump(check.members(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    if plot is not None:
        picture.draw(plot, check.upstreams, check.pairs, options.png)
    return READY if check.is_ready else NOT_READY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python app.py check",
        description=__doc__,
        epilog="Every flag of `python app.py --help` is taken as well. Measuring makes some hundred calls.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="ask and send one text, measure nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object, and the progress to stderr")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw what was measured into this file")
    return parser


def _settings(argv: Sequence[str]) -> Settings:
    """Read the settings as the service does. Raises ``SettingsError``."""
    fitted = fit(load_settings(argv, version=__version__), machine())
    problems = [*fitted.problems, *sizing_problems(fitted.settings, open_files_limit=raise_open_files_limit())]
    if problems:
        raise SettingsError(problems, log_format=fitted.settings.log_format)
    return fitted.settings


def _endpoint(settings: Settings, url: str) -> Endpoint:
    """Return one upstream by itself: among others it would wait until its model was compared with theirs."""
    alone = dataclasses.replace(settings, inference_url=(url,))
    return upstreams.endpoints(alone, SystemClock(), Observer(), Identities())[0]


class Check:
    """One run, told as it goes."""

    def __init__(self, settings: Settings, *, out: TextIO, is_quick: bool) -> None:
        self._settings = settings
        self._out = out
        self._is_quick = is_quick
        self._progress = Progress()
        self._steps = 0
        #: Whether a reply told of rate limits: then no crowd is tried.
        self._is_limited = False
        self.upstreams: list[UpstreamFindings] = []
        self.pairs: list[Pair] = []
        self.advice: list[str] = []
        self.verdict = ""

    @property
    def is_ready(self) -> bool:
        """Whether some upstream is."""
        return any(each.is_ready for each in self.upstreams)

    def run(self) -> None:
        """Do all of it."""
        settings = self._settings
        self._say(banner(settings, version=__version__, url=f"http://{settings.bind}"), "")
        many = dataclasses.replace(settings, max_inflight_batches=_CONNECTIONS)
        endpoints = [_endpoint(many, url) for url in settings.inference_url]
        try:
            for endpoint in endpoints:
                endpoint.on_limits = lambda *_: setattr(self, "_is_limited", True)
                self.upstreams.append(self._look_at(endpoint))
                self._say(*self.upstreams[-1].lines())
            models = {each.model for each in self.upstreams if each.model}
            if len(models) > 1:
                self._say(f"The upstreams serve different models: {', '.join(sorted(models))}.", "")
            ready = [endpoint for endpoint, found in zip(endpoints, self.upstreams, strict=True) if found.is_ready]
            if ready and not self._is_quick:
                self._try_crowds(ready)
                self._judge()
        finally:
            for endpoint in endpoints:
                endpoint.close()

    def members(self) -> dict[str, Any]:
        """Return what was found as members of a JSON object."""
        return {
            **banner_members(self._settings, version=__version__, url=f"http://{self._settings.bind}"),
            "ready": self.is_ready,
            "upstreams": [each.members() for each in self.upstreams],
            "crowds": pair_members(self.pairs),
            "verdict": self.verdict,
            "advice": self.advice,
        }

    def _look_at(self, endpoint: Endpoint) -> UpstreamFindings:
        """Ask one upstream what it is, send it a text, and measure its calls."""
        found = UpstreamFindings(endpoint.url)
        self._show(f"asking {endpoint.url}")
        try:
            finding = endpoint.find_out(ASKING, may_call=True)
            found.speaks = finding.sentence if finding is not None else f"is spoken to as {endpoint.speaks}"
            info = endpoint.info(ASKING)
            if info is not None:
                found.model = info.model_id
                found.most_items, found.most_tokens = info.max_client_batch_size, info.max_batch_tokens
                found.most_at_once = info.max_concurrent_requests
            clock = SystemClock()
            began = clock.now()
            found.dimension = measuring.send(endpoint, [measuring.text()])
            found.first_call = clock.now() - began
        except ProxyError as problem:
            reason = getattr(problem, "reason", "")
            found.problem = f"{problem} ({reason})" if reason else str(problem)
        if found.is_ready and not self._is_quick:
            most = min(self._settings.max_batch_size, found.most_items or self._settings.max_batch_size)
            sizes = measuring.ladder(endpoint, most, lambda size: self._show(f"calls of {size} texts"))
            found.times, found.stopped_by = sizes
        self._progress.clear()
        return found

    def _try_crowds(self, endpoints: Sequence[Endpoint]) -> None:
        """Measure what crowds get straight from the upstreams and batched."""
        if self._is_limited:
            self._say("The upstream limits calls a minute: no crowd is tried. Fuller calls use fewer of them.", "")
            return
        longest = max((max(each.times.values()) for each in self.upstreams if each.times), default=0.0)
        window = measuring.window_of(longest)
        service = Service(self._settings)
        service.start()
        try:
            for clients in measuring.CLIENTS:
                self._show(f"{clients} clients, {window:.1f} s each way", STEPS_OF_CROWD)
                straight = measuring.direct(endpoints, clients, window)
                through = measuring.batched(service.batcher, service.pool.speakers.fit, clients, window)
                if error := straight.error or through.error:
                    self._say(f"{clients} clients: {error}", "")
                    return
                self.pairs.append(measuring.pair_of(clients, straight, through))
        finally:
            self._progress.clear()
            service.hurry()
            service.stop()

    def _judge(self) -> None:
        if not self.pairs:
            return
        words = measuring.TEXT_WORDS
        self._say(f"Clients that each wait for their answer, texts of {words} words:", *table(self.pairs), "")
        self.verdict = verdict(self.pairs)
        measured = next((each for each in self.upstreams if each.line is not None), None)
        caps = [each.most_items for each in self.upstreams if each.most_items]
        if measured is not None and measured.line is not None:
            cap = min(caps) if caps else None
            self.advice = advice(self._settings, measured.times, measured.line, self.pairs, cap)
        self._say(self.verdict, *(f"- {each}" for each in self.advice))

    def _show(self, what: str, steps: int = 1) -> None:
        """Show what is done next, which takes as long as so many calls of one size."""
        looks = len(self._settings.inference_url) * (1 + len(measuring.sizes(self._settings.max_batch_size)))
        self._progress.show(min(1.0, self._steps / (looks + STEPS_OF_CROWD * len(measuring.CLIENTS))), what)
        self._steps += steps

    def _say(self, *lines: str) -> None:
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()
