"""Looks whether the service can listen at an address, before gunicorn tries it again and again."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from config import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from config import Settings

#: Seconds for which an address may still belong to a service that is just ending, and between two tries.
IN_USE_WAIT, TRY_AGAIN = 3.0, 0.25

_REASONS = {
    errno.EADDRINUSE: "another process listens there",
    errno.EACCES: "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): take a higher port",
    errno.EPERM: "the machine forbids it",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this machine has no IPv6: take an address of IPv4, like 0.0.0.0",
}

#: By these variables a service manager, or the master before, hands over sockets that listen already.
_HANDED_OVER = ("LISTEN_FDS", "GUNICORN_FD")


def problem_of(
    host: str,
    port: int,
    *,
    wait: float = IN_USE_WAIT,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> str | None:
    """Return why nothing can listen there, or None. An address in use is tried for ``wait`` seconds."""
    end = monotonic() + wait
    while True:
        try:
            _try(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and monotonic() < end:
                sleep(TRY_AGAIN)
                continue
            if isinstance(error, socket.gaierror):
                return f"the name cannot be resolved: {error.strerror}"
            if error.errno == errno.EADDRNOTAVAIL and ":" in host:
                return "this machine has no such address, or no IPv6"
            return _REASONS.get(error.errno or 0, error.strerror or str(error))
        return None


def _try(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((host, port))
        trial.listen(1)


def refusals(
    addresses: Iterable[object], environ: Mapping[str, str] = os.environ, wait: float = IN_USE_WAIT
) -> list[str]:
    """Return a line on each of gunicorn's addresses at which nothing can listen, unless its sockets are handed over."""
    if any(name in environ for name in _HANDED_OVER):
        return []
    pairs = [each for each in addresses if isinstance(each, tuple)]
    tried = ((host, port, problem_of(host, port, wait=wait)) for host, port, *_ in pairs)
    return [f"cannot listen on {host} port {port}: {why}" for host, port, why in tried if why]


def problems_of_a_move(before: Settings | None, after: Settings) -> list[Problem]:
    """Return why a reload cannot change the address: gunicorn gives the old one up before it tries the new one.

    ``before``: the settings in force; None at the start, when `refusals` looks.
    """
    if before is None or before.bind == after.bind:
        return []
    # The old port is still held, and would look taken on another host.
    port = after.port if after.port != before.port else 0
    why = problem_of(after.host, port, wait=0.0)
    if why is None:
        return []
    text = f"host = {after.host} ({after.source('host')}), port = {after.port} ({after.source('port')}): {why}"
    return [Problem(text, ("host", "port"))]
