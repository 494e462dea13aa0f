"""Starts, awaits, measures and ends the services under test, by process id."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
#: Seconds between two looks at a service that is starting.
_POLL = 0.1
#: Characters of a failed service's log that its error quotes.
_LOG_TAIL = 3000


class ServiceError(Exception):
    """A service did not start, or does not answer as it should."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used so far; the difference of two is what a run cost."""

    cpu_seconds: float
    voluntary_switches: int
    involuntary_switches: int
    rss_bytes: int
    threads: int


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    name: str
    url: str
    pid: int


def usage(pid: int) -> Usage:
    """Read the clocks of `pid` and all its descendants.

    Context switches are summed over threads: the kernel's figure for a process (and so psutil's)
    is that of its first thread alone. Threads that have ended are not in it; their processor time is.
    RSS counts a page once for every process that maps it. Raises psutil.NoSuchProcess.
    """
    root = psutil.Process(pid)
    cpu, voluntary, involuntary, rss, threads = 0.0, 0, 0, 0, 0
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            cpu += times.user + times.system
            rss += process.memory_info().rss
            own_voluntary, own_involuntary, own_threads = _switches(process)
            voluntary += own_voluntary
            involuntary += own_involuntary
            threads += own_threads
    return Usage(cpu, voluntary, involuntary, rss, threads)


def _switches(process: psutil.Process) -> tuple[int, int, int]:
    """Voluntary and involuntary context switches and the number of threads."""
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.is_dir():
        switches = process.num_ctx_switches()
        return switches.voluntary, switches.involuntary, process.num_threads()
    voluntary, involuntary, threads = 0, 0, 0
    for task in tasks.iterdir():
        with contextlib.suppress(OSError):
            status = (task / "status").read_text()
            voluntary += int(status.rpartition("\nvoluntary_ctxt_switches:")[2].split(None, 1)[0])
            involuntary += int(status.rpartition("\nnonvoluntary_ctxt_switches:")[2].split(None, 1)[0])
            threads += 1
    return voluntary, involuntary, threads


def free_port() -> int:
    """A loopback port on which no process listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pin(cpus: Sequence[int], pid: int = 0) -> None:
    """Keep `pid` (0 is this process) on `cpus`; no `cpus`, or a system without affinity: no change."""
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, cpus)


def fetch(url: str, path: str, body: object = None, timeout: float = 60.0) -> tuple[int, bytes]:
    """One request on a connection of its own: POST of `body` as JSON, or GET. Raises OSError."""
    target = wire.endpoint(url, path)
    connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout)
    try:
        if body is None:
            connection.request("GET", target.path)
        else:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", target.path, json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url}{path}: {error!r}") from error
    finally:
        connection.close()


def fetch_json(url: str, path: str) -> Any:
    """GET a JSON document; None where the service does not have it. Raises OSError."""
    status, body = fetch(url, path)
    return json.loads(body) if status == 200 else None


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    ready_path: str,
    environment: dict[str, str] | None = None,
    cwd: Path = REPOSITORY,
    cpus: Sequence[int] = (),
    check: Callable[[Service], None] = lambda _: None,
) -> Iterator[Service]:
    """Run `command`, its `{port}` filled in, until the block ends; wait till `ready_path` answers 200.

    Raises ServiceError, quoting the service's log, where it ends or stays silent instead, or where
    `check` raises one.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            # Ctrl-C must reach this process only, which then ends the services in order.
            start_new_session=True,
        )
        try:
            service = Service(name, url, process.pid)
            try:
                pin(cpus, process.pid)
                _await_ready(process, url + ready_path)
                check(service)
            except ServiceError as error:
                log.seek(0)
                raise ServiceError(f"{name}: {error}\n{log.read()[-_LOG_TAIL:]}") from error
            yield service
        finally:
            _end(process)


def _await_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    target = wire.endpoint(url)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(f"ended with status {process.returncode} instead of starting")
        with contextlib.suppress(OSError):
            if fetch(url, target.path, timeout=2.0)[0] == 200:
                return
        time.sleep(_POLL)
    raise ServiceError(f"{target.path} did not answer 200 within {START_TIMEOUT:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process, SIGKILL to what is left of its tree after a grace period."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(family, timeout=2.0)
    for child in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def module_command(module: str, *options: str) -> list[str]:
    """The command that runs `module` with this interpreter."""
    return [sys.executable, "-m", module, *options]
