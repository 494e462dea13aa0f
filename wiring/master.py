"""What the master process prepares before it forks workers: open files, the metrics directory, the embedded server."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import resource
import shutil
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from config.active import activate, active
from config.machine import Machine, look
from embedded.supervisor import EmbeddedServer
from embedded.weights import WeightsError
from instrumentation.metrics_directory import UnusableError, make_own
from wiring.heartbeat import IN_MEMORY

if TYPE_CHECKING:
    from config import Settings

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

#: Open files to ask for at most: some systems allow a thousand million, for which other programs reserve memory.
MOST_OPEN_FILES = 1 << 20

log = logging.getLogger(__name__)


@cache
def machine() -> Machine:
    """Return what the machine allowed at the start: later what this service itself has taken would be missing."""
    return look()


def raise_open_files_limit() -> int:
    """Take as many open files as the system lets us have, since connections are files.

    Return how many, negative for no limit; where they may not be raised, those that there are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return soft


def prepare_metrics_directory(settings: Settings) -> None:
    """See that several workers have a directory in which their metrics add up.

    Exits where the one that is named cannot be used. Where none is named and none can be made, each worker tells its
    own, which is logged. ``prometheus_client`` looks for the directory when it is imported, so this comes first. At
    SIGHUP it is too late for that, and the directory is in use.
    """
    if "prometheus_client" in sys.modules or _made:
        if settings.workers > 1 and METRICS_DIRECTORY not in os.environ:
            log.warning("metrics add up over several workers only after a restart")
        return
    named = os.environ.get(METRICS_DIRECTORY)
    if named is not None:
        try:
            _use(make_own(Path(named)))
        except UnusableError as trouble:
            sys.exit(f"{METRICS_DIRECTORY}: {trouble}")
    elif settings.workers > 1:
        try:
            _use(_make_anywhere())
        except UnusableError as trouble:
            log.warning("each worker tells its own metrics, which do not add up: %s", trouble)


def _make_anywhere() -> Path:
    try:
        return make_own(Path(tempfile.gettempdir()))
    except (UnusableError, FileNotFoundError):
        return make_own(Path(IN_MEMORY))


#: The directory that this master made for its workers, if it did.
_made: list[Path] = []


def _use(directory: Path) -> None:
    _made.append(directory)
    os.environ[METRICS_DIRECTORY] = str(directory)
    atexit.register(_remove_once, os.getpid(), str(directory))


def _remove_once(owner: int, directory: str) -> None:
    """At the end of the process that made it, and not of those forked from it, remove the directory."""
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


class EmbeddedUpstream:
    """The embedded server as the upstream, where the settings name none. It outlives a reload of the settings."""

    def __init__(self) -> None:
        self._server: EmbeddedServer | None = None
        self._url = ""

    @property
    def is_running(self) -> bool:
        """Whether the settings in force have it as their upstream."""
        return self._server is not None and active().inference_url == (self._url,)

    def ensure(self) -> None:
        """Start it if the settings want it and it does not run, and make it the upstream; exits if it cannot start."""
        settings = active()
        if not settings.embedded:
            return
        if self._server is None:
            server = EmbeddedServer(threads=settings.embedded_threads, log_format=settings.log_format)
            try:
                self._url = server.start()
            except WeightsError as problem:
                sys.exit(f"no inference_url is set, and the embedded server cannot start: {problem}")
            except OSError as problem:
                sys.exit(f"no inference_url is set, and the embedded server cannot start on 127.0.0.1: {problem}")
            self._server = server
        sources = {**settings.sources, "inference_url": "embedded server"}
        activate(dataclasses.replace(settings, inference_url=(self._url,), sources=sources))

    def stop(self) -> None:
        """End it, if it runs."""
        if self._server is not None:
            self._server.stop()


embedded_upstream = EmbeddedUpstream()
