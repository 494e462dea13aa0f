"""gunicorn's hooks: what happens in the master and in the workers when they start, reload and end.

==================  =======  ===========================================================================
signal              process  what happens
==================  =======  ===========================================================================
SIGTERM             master   asks the workers to end within ``graceful_timeout``, then ``on_exit``
SIGTERM             worker   ``ProxyWorker.handle_exit``: the service drains; ``worker_exit`` stops it
SIGINT, SIGQUIT     master   SIGQUIT to the workers, then ``on_exit``
SIGINT, SIGQUIT     worker   ``ProxyWorker.handle_quit``: the service hurries; ``worker_exit`` stops it
SIGHUP              master   reads gunicorn.conf.py again, ``on_reload``, new workers, SIGTERM to the old
==================  =======  ===========================================================================
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from config import __version__, banner, banner_members, sizing_problems
from config.active import active
from config.banner import heading, upstream_line
from config.console import json_line
from config.fitting import least_tasks, thread_stack
from wiring.asking import upstreams_told
from wiring.listening import refusals
from wiring.master import METRICS_DIRECTORY, embedded_upstream, machine
from wiring.respawn import Respawn, go_before_the_master, has_work
from wiring.spare_tasks import wait_for_tasks

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

WORKER_CLASS = "serving.worker.ProxyWorker"

_respawn = Respawn()


def on_starting(server: Arbiter) -> None:
    """Refuse an address that cannot be had, and start the embedded server, if it is wanted, before the first worker."""
    if refused := refusals(server.cfg.address):
        for line in refused:
            server.log.error("%s", line)
        sys.exit(1)
    embedded_upstream.ensure()
    os.register_at_fork(after_in_parent=partial(signal.pthread_sigmask, signal.SIG_SETMASK, ()))


def on_reload(server: Arbiter) -> None:
    """SIGHUP: the settings have been read again; the embedded server goes on running."""
    embedded_upstream.ensure()
    _announce(server)


def when_ready(server: Arbiter) -> None:
    """Refuse what only gunicorn's own command line can have spoiled; then say what is running."""
    settings, given = active(), server.cfg
    problems = [str(problem) for problem in sizing_problems(settings, threads=given.threads)]
    if given.worker_class_str != WORKER_CLASS:
        problems.append(f"worker_class = {given.worker_class_str}: must be {WORKER_CLASS}")
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
    """Wait where workers die in a row or tasks are short; then hold back what would end the worker before it can hear.

    It is born with the master's handlers: a signal that came now would be put into a queue that no process reads, and
    the service would wait for this worker until ``graceful_timeout``. The master lets go right after the fork.
    """
    _respawn.wait(server.SIG_QUEUE)
    if machine().tasks is not None:
        wait_for_tasks(least_tasks(active()), partial(has_work, server.SIG_QUEUE))
    _respawn.born(worker.age)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT})


def post_fork(server: Arbiter, worker: Worker) -> None:  # noqa: ARG001 - gunicorn gives them
    """Set what belongs to this process before the application is loaded: stacks, and files for what it counts."""
    if machine().memory is not None:
        go_before_the_master()
    if (stack := thread_stack(machine())) is not None:
        threading.stack_size(stack)
    if METRICS_DIRECTORY in os.environ:
        from instrumentation.reserved_values import reserve_values  # noqa: PLC0415 - see prepare_metrics_directory

        reserve_values()


def post_worker_init(worker: Worker) -> None:
    """Start the engine's threads in the process that serves."""
    from serving.affinity import stay_on_one_core  # noqa: PLC0415 - the master does without

    if active().cpu_affinity == "auto" and (core := stay_on_one_core()) is not None:
        worker.log.info("staying on core %d", core)
    worker.wsgi.extensions["service"].start()
    # What the start has made stays: no collection has to look at it again. And requests leave no cycles behind, so
    # collections need not come as often as they would by default, once every 700 objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def worker_exit(server: Arbiter, worker: Worker) -> None:  # noqa: ARG001
    """Finish the admitted calls. The app is missing where the worker could not load it."""
    service = getattr(worker.wsgi, "extensions", {}).get("service")
    if service is not None:
        service.stop()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """What a dead worker had waiting and under way is no more; what it counted stays."""
    _respawn.died(worker.age, wanted=len(server.WORKERS) >= server.num_workers)
    if METRICS_DIRECTORY in os.environ:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see prepare_metrics_directory

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Arbiter) -> None:  # noqa: ARG001
    """End the embedded server, after the workers."""
    embedded_upstream.stop()


def _announce(server: Arbiter) -> None:
    """Show what is in force and where it came from, and what the upstreams speak."""
    urls = " ".join(f"http://{listener.cfg_addr[0]}:{listener.sock.getsockname()[1]}" for listener in server.LISTENERS)
    settings = active()
    # It is known what the embedded server speaks.
    told = iter(()) if embedded_upstream.is_running else upstreams_told(settings)
    if settings.log_format == "json":
        members = banner_members(settings, version=__version__, url=urls, upstreams=dict(told))
        _say(json_line("banner", logging.INFO, heading(version=__version__, url=urls), **members))
        return
    _say(banner(settings, version=__version__, url=urls))
    for url, sentence in told:
        _say(upstream_line(url, sentence))


def _say(line: str) -> None:
    # Standard error may have been closed before the start, and its disk may be full.
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
