"""Checks whether the settings fit each other, and derives the server's sizes from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from config.errors import Problem

if TYPE_CHECKING:
    from config.settings import Settings

#: Threads above admission that answer health checks, metrics and rejections while all requests wait.
SPARE_THREADS = 16
#: Threads that may stay with an idle connection and wait for its next request, instead of the poller.
IDLE_THREADS = 64
#: With fewer spare threads, one burst of rejections leaves no thread for the health check.
LEAST_SPARE_THREADS = 8
#: Connections above the threads: idle keep-alive clients, and clients that will be answered 429.
IDLE_CONNECTIONS = 4096
#: Below this gunicorn has no room for keep-alive and closes after every reply.
LEAST_IDLE_CONNECTIONS = 16
#: Files of a worker that are no client: logs, libraries, listeners, pollers, upstream connections.
RESERVED_FILES = 128


def thread_count(settings: Settings) -> int:
    """Return gunicorn's `threads` for each worker, derived where the setting is 0."""
    return settings.threads or settings.max_concurrent_requests + IDLE_THREADS + SPARE_THREADS


def idle_threads(settings: Settings) -> int:
    """Return how many threads of a worker may wait with an idle connection: all but admission's and the spare ones."""
    return max(0, thread_count(settings) - settings.max_concurrent_requests - SPARE_THREADS)


def worker_connections(settings: Settings, open_files_limit: int) -> int:
    """Return gunicorn's `worker_connections`: as many idle clients as `open_files_limit` has room for.

    A negative limit means none (`resource.RLIM_INFINITY`). The answer never falls below what gunicorn needs
    to work; `sizing_problems` says when that is more than the limit allows.
    """
    threads = thread_count(settings)
    wanted = threads + IDLE_CONNECTIONS
    if open_files_limit < 0:
        return wanted
    return max(threads + LEAST_IDLE_CONNECTIONS, min(wanted, open_files_limit - _reserved_files(settings)))


def sizing_problems(
    settings: Settings, threads: int | None = None, open_files_limit: int | None = None
) -> tuple[Problem, ...]:
    """Return every way in which settings that are right one by one cannot work together.

    `threads` is the number the server really has, where it is not the derived one; `open_files_limit` is this
    process's soft limit, negative for none; None leaves it unchecked.
    """
    thread_total = thread_count(settings) if threads is None else threads
    problems = (
        # gunicorn queues what its threads cannot take. Neither admission nor deadlines see that queue: with
        # too few threads no request is shed, and waiting times grow without bound.
        _at_least(
            settings,
            "threads",
            "max_concurrent_requests",
            "every waiting request holds a thread, and health checks need spare ones",
            value=thread_total,
            plus=LEAST_SPARE_THREADS,
        ),
        _at_least(
            settings,
            "max_concurrent_requests",
            "max_batch_size",
            "or a batch of single requests can never fill",
        ),
        _at_least(
            settings,
            "max_queued_items",
            "max_client_batch_size",
            "a request is queued whole or not at all, so the largest could never enter",
        ),
        _at_least(settings, "max_queued_items", "max_batch_size", "or a batch can never fill"),
        _at_least(
            settings,
            "max_inflight_batches",
            "upstream_parallelism",
            "or the upstream is never given all the work it can do at once",
        ),
        _fixed_wait_problem(settings),
        _extra_problem(settings),
        *_plain_problems(settings),
        _open_files_problem(settings, thread_total, open_files_limit),
    )
    return tuple(problem for problem in problems if problem)


def _at_least(
    settings: Settings, name: str, other: str, why: str, *, value: int | None = None, plus: int = 0
) -> Problem | None:
    """Require `name` to be at least `other` + `plus`."""
    value = getattr(settings, name) if value is None else value
    least = getattr(settings, other) + plus
    if value >= least:
        return None
    bound = f"{other} + {plus}" if plus else other
    return Problem(
        f"{name} = {value} ({settings.source(name)}): must be at least {bound} = {least} "
        f"({settings.source(other)}): {why}",
        keys=(name, other),
    )


def _fixed_wait_problem(settings: Settings) -> Problem | None:
    if settings.batch_timing != "fixed" or settings.max_wait_time_ms < settings.request_timeout_ms:
        return None
    return Problem(
        f"max_wait_time_ms = {settings.max_wait_time_ms} ({settings.source('max_wait_time_ms')}): "
        f"must be below request_timeout_ms = {settings.request_timeout_ms} "
        f"({settings.source('request_timeout_ms')}): "
        "with fixed timing a lone request waits that long, and would always miss its deadline",
        keys=("max_wait_time_ms", "request_timeout_ms", "batch_timing"),
    )


def _extra_problem(settings: Settings) -> Problem | None:
    """Each call has its own list of texts: it cannot be a constant."""
    name = settings.upstream_input_field
    if not settings.upstream_extra or name not in json.loads(settings.upstream_extra):
        return None
    return Problem(
        f"upstream_extra = {settings.upstream_extra} ({settings.source('upstream_extra')}): must not have the member "
        f"{name!r}, which is upstream_input_field ({settings.source('upstream_input_field')})",
        keys=("upstream_extra", "upstream_input_field"),
    )


def _plain_problems(settings: Settings) -> list[Problem]:
    """Refuse what only a plain upstream has where the upstream is said to be another."""
    if settings.upstream_api not in {"tei", "openai", "kserve"}:
        return []
    api = f"{settings.upstream_api} ({settings.source('upstream_api')})"
    return [
        Problem(
            f"{name} = {value} ({settings.source(name)}): needs upstream_api = plain, and it is {api}",
            keys=(name, "upstream_api"),
        )
        for name in ("upstream_input_field", "upstream_output_field", "upstream_extra")
        if (value := getattr(settings, name))
    ]


def _open_files_problem(settings: Settings, threads: int, limit: int | None) -> Problem | None:
    needed = threads + LEAST_IDLE_CONNECTIONS + _reserved_files(settings)
    if limit is None or limit < 0 or limit >= needed:
        return None
    return Problem(
        f"threads = {threads} ({settings.source('threads')}): needs {needed} open files, "
        f"and the limit is {limit}: raise it (ulimit -n {needed}) or lower max_concurrent_requests",
        keys=("threads", "max_concurrent_requests", "max_inflight_batches"),
    )


def _reserved_files(settings: Settings) -> int:
    # While the others are left out, one upstream may get the batches of all.
    return RESERVED_FILES + settings.max_inflight_batches * max(1, len(settings.inference_url)) ** 2
