"""Puts the service together, and is its command line: ``python app.py --help``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from api.app import App
from api.routes import register
from batching import AdaptiveTiming, Batcher, BatchQueue, FixedTiming, Limits, Observer, SystemClock, Timing
from config import DECLARATIONS, SettingsError, __version__, load_settings
from config.active import active
from config.flags import CONFIG_ENV, parse_flags
from config.sources import FLAGS_ENV
from instrumentation.metrics import Metrics
from upstream.endpoint import UpstreamClient
from upstream.monitor import Clamp, Fleet, UpstreamMonitor
from upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from config import Settings

#: Seconds that calls under way get when the service has to stop in a hurry.
HURRIED_STOP = 0.5


class Proxy:
    """The long-lived objects behind one app, and their life: ``start`` after the fork, ``drain``, ``stop``."""

    def __init__(self, settings: Settings) -> None:
        if not settings.inference_url:
            raise ValueError("an inference_url is needed here")
        clock = SystemClock()
        limits, wanted = _limits(settings), _limits(settings)
        self.metrics = Metrics()
        # Each upstream has room for all batches, should it be the only one left, and for its monitor.
        self._clients = [
            UpstreamClient(
                url,
                connections=limits.max_inflight_batches + 1,
                timeout=settings.upstream_timeout,
                api_key=settings.inference_api_key,
                on_stale_connection=self.metrics.on_stale_connection,
            )
            for url in settings.inference_url
        ]
        observers: list[Observer] = [self.metrics]
        self._pool = UpstreamPool(self._clients, limits, settings.max_inflight_batches, clock, observers=observers)
        clamp = Clamp(limits, wanted)
        monitors = [UpstreamMonitor(client, clamp, clock, [self.metrics, self._pool]) for client in self._clients]
        observers += monitors  # which the pool tells of failed calls
        self.fleet = Fleet(monitors)
        self.queue = BatchQueue(limits, lambda: _timing(settings), clock)
        self.metrics.watch(self.queue)
        self.batcher = Batcher(
            self.queue, self._pool, clock, threads=limits.max_inflight_batches, observers=[self.metrics]
        )
        self._stop_timeout = min(settings.request_timeout, settings.upstream_timeout)
        self.draining = False

    def start(self) -> None:
        """Start the threads. Call it in the process that serves: threads do not survive a fork."""
        self.batcher.start()
        self.fleet.start()

    def drain(self) -> None:
        """Be no longer ready, and send what waits without delay; requests that still come are served."""
        self.draining = True
        self.queue.drain()

    def hurry(self) -> None:
        """Make ``stop`` wait for hardly anything."""
        self._stop_timeout = min(self._stop_timeout, HURRIED_STOP)
        self._pool.stop()

    def stop(self) -> None:
        """Finish what was accepted, refuse what comes, end the threads."""
        self.draining = True
        self.batcher.stop(self._stop_timeout)
        self._pool.stop()
        self.fleet.stop()
        for client in self._clients:
            client.close()


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_batch_size=settings.max_batch_size,
        max_batch_bytes=settings.max_batch_bytes,
        max_padded_bytes=settings.max_padded_bytes,
        max_wait=settings.max_wait,
        max_calls=settings.max_concurrent_requests,
        max_queued_items=settings.max_queued_items,
        max_inflight_batches=settings.max_inflight_batches * len(settings.inference_url),
    )


def _timing(settings: Settings) -> Timing:
    if settings.batch_timing == "fixed":
        return FixedTiming(settings.max_wait)
    return AdaptiveTiming(
        settings.max_batch_size, settings.max_wait, settings.upstream_parallelism * len(settings.inference_url)
    )


def create_app(settings: Settings | None = None) -> Flask:
    """Build the WSGI app. Its ``extensions["proxy"]`` has to be started before it can answer.

    Under gunicorn the settings are those that the configuration file has read.
    """
    settings = active() if settings is None else settings
    app = App("auto-batching-proxy", static_folder=None)
    app.extensions["proxy"] = proxy = Proxy(settings)
    register(
        app,
        settings=settings,
        batcher=proxy.batcher,
        upstream=proxy.fleet,
        metrics=proxy.metrics,
        is_draining=lambda: proxy.draining,
    )
    return app


def main(argv: Sequence[str]) -> None:
    """Check the settings, hand the flags on as environment, and become gunicorn."""
    try:
        settings = load_settings(argv, version=__version__)
    except SettingsError as problem:
        sys.exit(str(problem))
    root = Path(__file__).resolve().parent
    flags = [each for each in DECLARATIONS if settings.source(each.name).startswith("flag ")]
    given = {each.env: _text(getattr(settings, each.name)) for each in flags}
    given[FLAGS_ENV] = ",".join(each.name for each in flags)
    if (file := parse_flags(argv).config) is not None:
        given[CONFIG_ENV] = file
    arguments = ["-m", "gunicorn", "-c", str(root / "gunicorn.conf.py"), "--chdir", str(root), "app:create_app()"]
    os.execve(sys.executable, [sys.executable, *arguments], os.environ | given)  # noqa: S606


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main(sys.argv[1:])
