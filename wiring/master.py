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
from pathlib import Path
from typing import TYPE_CHECKING

from config.active import activate, active
from embedded.supervisor import EmbeddedServer
from embedded.weights import WeightsError
from instrumentation.metrics_directory import prepare

if TYPE_CHECKING:
    from config import Settings

METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

log = logging.getLogger(__name__)


def raise_open_files_limit() -> int:
    """Take as many open files as the system lets us have, since connections are files; return how many."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def prepare_metrics_directory(settings: Settings) -> None:
    """See that several workers have a directory in which their metrics add up; exits where it cannot be used.

    ``prometheus_client`` looks for the directory when it is imported, so this comes first. At SIGHUP it is too late for
    that, and the directory is in use.
    """
    if "prometheus_client" not in sys.modules:
        if METRICS_DIRECTORY not in os.environ and settings.workers > 1:
            os.environ[METRICS_DIRECTORY] = tempfile.mkdtemp(prefix="autobatch-metrics-")
            atexit.register(_remove_once, os.getpid(), os.environ[METRICS_DIRECTORY])
        if METRICS_DIRECTORY in os.environ and (trouble := prepare(Path(os.environ[METRICS_DIRECTORY]))) is not None:
            sys.exit(f"{METRICS_DIRECTORY}: {trouble}")
    elif settings.workers > 1 and METRICS_DIRECTORY not in os.environ:
        log.warning("metrics add up over several workers only after a restart")


def _remove_once(owner: int, directory: str) -> None:
    """At the end of the process that made it, and not of those forked from it, remove the directory."""
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


class EmbeddedUpstream:
    """The embedded server as the upstream, where the settings name none. It outlives a reload of the settings."""

    def __init__(self) -> None:
        self._server: EmbeddedServer | None = None
        self._url = ""

    def ensure(self) -> None:
        """Start it if the settings want it and it does not run, and make it the upstream; exits if it cannot start."""
        settings = active()
        if not settings.embedded:
            return
        if self._server is None:
            server = EmbeddedServer(threads=settings.embedded_threads)
            try:
                self._url = server.start()
            except WeightsError as problem:
                sys.exit(f"no inference_url is set, and the embedded server cannot start: {problem}")
            self._server = server
        sources = {**settings.sources, "inference_url": "embedded server"}
        activate(dataclasses.replace(settings, inference_url=(self._url,), sources=sources))

    def stop(self) -> None:
        """End it, if it runs."""
        if self._server is not None:
            self._server.stop()


embedded_upstream = EmbeddedUpstream()
