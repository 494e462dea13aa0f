"""gunicorn's settings: each value is derived from ours or explained, and the hooks that start and stop the service.

Read by the master at the start and again at SIGHUP; the workers inherit what it found.
"""

from __future__ import annotations

import atexit
import dataclasses
import gc
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

from config import SettingsError, __version__, banner, sizing_problems, thread_count, worker_connections
from config.active import activate, active, read_again
from config.logs import logging_config
from embedded.supervisor import EmbeddedServer
from embedded.weights import WeightsError
from instrumentation.metrics_directory import prepare

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

#: Seconds by which answers may be late when the service stops, on top of the longest deadline.
STOP_MARGIN = 5.0
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


def _remove_once(owner: int, directory: str) -> None:
    """At the end of the process that made it, and not of those forked from it, remove the directory."""
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


# Connections are files: take as many as the system lets us have.
_hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard_limit, _hard_limit))

try:
    _settings = read_again(open_files_limit=_hard_limit)
except SettingsError as _problem:
    sys.exit(str(_problem))

# Several processes add their metrics up in files, in a directory that prometheus_client looks for when it is imported:
# so nothing above may import it. At SIGHUP it is too late for that, and the directory is in use.
if "prometheus_client" not in sys.modules:
    if METRICS_DIRECTORY not in os.environ and _settings.workers > 1:
        os.environ[METRICS_DIRECTORY] = tempfile.mkdtemp(prefix="autobatch-metrics-")
        atexit.register(_remove_once, os.getpid(), os.environ[METRICS_DIRECTORY])
    if METRICS_DIRECTORY in os.environ and (_trouble := prepare(Path(os.environ[METRICS_DIRECTORY]))) is not None:
        sys.exit(f"{METRICS_DIRECTORY}: {_trouble}")
elif _settings.workers > 1 and METRICS_DIRECTORY not in os.environ:
    logging.getLogger(__name__).warning("metrics add up over several workers only after a restart")

bind = _settings.bind
# One process has one queue: more processes split the same clients over smaller batches.
workers = _settings.workers
worker_class = "serving.worker.ProxyWorker"
# Every waiting request holds a thread, and some are kept for health checks and for saying 429.
threads = thread_count(_settings)
worker_connections = worker_connections(_settings, _hard_limit)
# The master's heartbeat check of a worker's main loop. It says nothing about requests: those have deadlines.
timeout = 30
# Longer than the deadline of any request that was accepted.
graceful_timeout = int(_settings.request_timeout + STOP_MARGIN)
# Longer than the idle time-out of common load balancers (60 s), so that they close first and never race us.
keepalive = 75
# The app is loaded after the fork: its locks, sockets and threads belong to one process.
preload_app = False
# Costs a sixth of the throughput; metrics and response headers tell more.
accesslog = None
logconfig_dict = logging_config(_settings)
# The heartbeat file lives in memory: a slow disk must not look like a dead worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
# Not used, and its socket wants a writable home.
control_socket_disable = True
# A header that could be mistaken for another is refused, not dropped; no peer is trusted to rewrite the scheme.
header_map = "refuse"
forwarded_allow_ips = ""
limit_request_fields = 50
limit_request_field_size = 4096
proc_name = "auto-batching-proxy"


def _ensure_upstream(server: Arbiter) -> None:
    """Without an upstream in the settings, see that the embedded server runs, and make it the upstream.

    The master object keeps it: this file is read anew at each SIGHUP.
    """
    settings = active()
    if not settings.embedded:
        return
    if getattr(server, "embedded_server", None) is None:
        embedded = EmbeddedServer(threads=settings.embedded_threads)
        try:
            server.embedded_url = embedded.start()
        except WeightsError as problem:
            sys.exit(f"no inference_url is set, and the embedded server cannot start: {problem}")
        server.embedded_server = embedded
    sources = {**settings.sources, "inference_url": "embedded server"}
    activate(dataclasses.replace(settings, inference_url=(server.embedded_url,), sources=sources))


def _announce(server: Arbiter) -> None:
    """Show what is in force, and where it came from."""
    urls = " ".join(f"http://{listener.cfg_addr[0]}:{listener.sock.getsockname()[1]}" for listener in server.LISTENERS)
    sys.stderr.write(banner(active(), version=__version__, url=urls) + "\n")
    sys.stderr.flush()


def on_starting(server: Arbiter) -> None:
    """Start the embedded server, if it is wanted, before the first worker is forked."""
    _ensure_upstream(server)
    os.register_at_fork(after_in_parent=partial(signal.pthread_sigmask, signal.SIG_SETMASK, ()))


def on_reload(server: Arbiter) -> None:
    """SIGHUP: the settings have been read again; the embedded server goes on running."""
    _ensure_upstream(server)
    _announce(server)


def when_ready(server: Arbiter) -> None:
    """Refuse what only gunicorn's own command line can have spoiled; then say what is running."""
    settings, given = active(), server.cfg
    problems = [str(problem) for problem in sizing_problems(settings, threads=given.threads)]
    if given.worker_class_str != worker_class:
        problems.append(f"worker_class = {given.worker_class_str}: must be {worker_class}")
    if given.workers != settings.workers:
        problems.append(f"workers = {given.workers}: give it as a setting (WORKERS), or metrics do not add up")
    if given.is_ssl:
        problems.append("certfile, keyfile: this service speaks HTTP in the clear; put what ends TLS in front")
    if problems:
        server.log.error("gunicorn was told what cannot work: %s", "; ".join(problems))
        server.halt(exit_status=1)
    if given.accesslog or given.max_requests:
        server.log.warning("an access log and max_requests have no effect here; see /metrics and the reply's headers")
    _announce(server)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Hold back what would end the worker until it can hear it.

    It is born with the master's handlers: a signal that came now would be put into a queue that nobody reads, and
    the service would wait for this worker until ``graceful_timeout``. The master lets go right after the fork.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT})


def post_worker_init(worker: Worker) -> None:
    """Start the engine's threads in the process that serves."""
    from serving.affinity import stay_on_one_core  # noqa: PLC0415 - not in the master: see METRICS_DIRECTORY

    if active().cpu_affinity == "auto" and (core := stay_on_one_core()) is not None:
        worker.log.info("staying on core %d", core)
    worker.wsgi.extensions["proxy"].start()
    # What the start has made stays: no collection has to look at it again. And requests leave no cycles behind, so
    # collections need not come as often as they would by default, once every 700 objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Finish what was accepted."""
    proxy = getattr(worker.wsgi, "extensions", {}).get("proxy")
    if proxy is not None:
        proxy.stop()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """What a dead worker had waiting and under way is no more; what it counted stays."""
    if METRICS_DIRECTORY in os.environ:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see METRICS_DIRECTORY

        mark_process_dead(worker.pid)


def on_exit(server: Arbiter) -> None:
    """End the embedded server, after the workers."""
    if (embedded := getattr(server, "embedded_server", None)) is not None:
        embedded.stop()
