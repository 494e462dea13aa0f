"""Asks the upstreams at the start which API they speak, for the banner, within a bound on the time that takes.

The workers ask for themselves; what is found here is said and forgotten.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from config import Settings
    from upstream.detection import Wanted
    from upstream.http_reply import Reply

#: Seconds for all upstreams together, and bytes of one page that are read.
LONGEST, MAX_PAGE = 1.0, 1_000_000
NOT_YET = "does not answer yet: it is asked what it speaks when it does"
#: Looks a name up in a process of its own, whose resolver takes no time-out: a worker that is forked beside a thread in
#: it might find its locks taken for good. It ends with status 0 in time, whatever it finds: gunicorn reports others.
_LOOK_UP = """
import os, socket, sys, threading
from contextlib import suppress
threading.Timer(float(sys.argv[2]), os._exit, (0,)).start()
with suppress(OSError, ValueError):
    print(*(each[4][0] for each in socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)), flush=True)
os._exit(0)
"""


def wanted_of(settings: Settings) -> Wanted:
    """Return what the settings say of the servers' API."""
    from upstream.detection import Wanted  # noqa: PLC0415

    return Wanted(
        settings.upstream_api,
        settings.upstream_model,
        settings.upstream_path,
        settings.upstream_input_field,
        settings.upstream_output_field,
        settings.upstream_extra,
    )


def upstreams_told(settings: Settings, now: Callable[[], float] = time.monotonic) -> Iterator[tuple[str, str]]:
    """Yield each upstream's URL with a sentence on what it speaks and what it would be sent.

    Servers are asked where the settings leave something open: with GETs, one after the other.
    """
    # These are loaded here alone: a master that has nothing to ask does without them.
    from upstream.detection import Detector, as_set  # noqa: PLC0415
    from upstream.dialects.openai_paths import without_route  # noqa: PLC0415
    from upstream.kinds import dialect_of, sentence  # noqa: PLC0415

    wanted = wanted_of(settings)
    end = now() + LONGEST
    for url in settings.inference_url:
        found = as_set(wanted)
        if found is None:
            asker = Asker(url, end, now, api_key=settings.inference_api_key, ca_file=settings.upstream_ca_file)
            detector = Detector(asker.get, lambda *_: None, wanted, url=without_route(url))
            found = detector.find()
            if found is None or not asker.was_answered:
                yield url, f"cannot be told yet: {detector.reason}" if asker.was_answered else NOT_YET
                continue
        yield url, sentence(found, dialect_of(found, url, wanted))


class Asker:
    """Gets pages of one server until a moment comes, each over a connection of its own."""

    def __init__(
        self, url: str, end: float, now: Callable[[], float], *, api_key: str | None = None, ca_file: str = ""
    ) -> None:
        from upstream.dialects.openai_paths import without_route  # noqa: PLC0415

        self._parts = urlsplit(without_route(url))
        self._end = end
        self._now = now
        self._api_key = api_key
        self._ca_file = ca_file
        self._hosts: list[str] = []
        self.was_answered = False

    def get(self, path: str) -> Reply | None:
        """Return what this path below the base URL is answered; None if no proper answer comes in time."""
        from batching.errors import UpstreamError  # noqa: PLC0415

        with suppress(OSError, ValueError, UpstreamError):
            with self._connected() as stream:
                stream.sendall(self._request(path))
                reply = self._read(stream)
            self.was_answered = True
            return reply
        return None

    def _connected(self) -> socket.socket:
        host = self._parts.hostname or ""
        self._hosts = self._hosts or ([host] if _is_quick(host) else _looked_up(host, self._left()))
        stream = self._connected_to_any()
        if self._parts.scheme != "https":
            return stream
        from upstream.tls import handshake, trusting_context  # noqa: PLC0415 - it loads more than all else here

        with stream:
            return handshake(stream, trusting_context(self._ca_file or None), host, self._left())

    def _connected_to_any(self) -> socket.socket:
        port = self._parts.port or (443 if self._parts.scheme == "https" else 80)
        for each in self._hosts[:-1]:
            with suppress(OSError):
                return socket.create_connection((each, port), self._left())
        return socket.create_connection((self._hosts[-1], port), self._left())

    def _request(self, path: str) -> bytes:
        query = f"?{self._parts.query}" if self._parts.query else ""
        lines = [f"GET {self._parts.path}{path}{query} HTTP/1.1", f"Host: {self._parts.netloc.rpartition('@')[2]}"]
        lines += ["Accept: application/json", "User-Agent: auto-batching-proxy", "Connection: close"]
        if self._api_key:  # Azure reads the second
            lines += [f"Authorization: Bearer {self._api_key}", f"api-key: {self._api_key}"]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")

    def _read(self, stream: socket.socket) -> Reply:
        from upstream.http_reply import COMPLETE, ReplyReader  # noqa: PLC0415

        reader = ReplyReader()
        reader.expect(MAX_PAGE)
        while reader.progress is not COMPLETE:
            stream.settimeout(self._left())
            data = stream.recv(65_536)
            reader.feed(data) if data else reader.end()
        reply = reader.reply()
        reader.close()
        return reply

    def _left(self) -> float:
        left = self._end - self._now()
        if left <= 0.0:
            raise TimeoutError
        return left


def _is_quick(host: str) -> bool:
    """Whether no name server is asked for this name."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _looked_up(host: str, timeout: float) -> list[str]:
    """Return the addresses of this name; raises an ``OSError`` if none is found within ``timeout`` seconds."""
    command = [sys.executable, "-I", "-S", "-c", _LOOK_UP, host, str(timeout)]
    addresses = subprocess.run(command, capture_output=True, check=False, text=True).stdout.split()  # noqa: S603
    if not addresses:
        raise OSError(f"{host} has no address")
    return addresses
