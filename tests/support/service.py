"""Runs the real service, gunicorn and all, and talks to it: over plain sockets, or as a crowd of clients."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from config import DECLARATIONS
from config.flags import CONFIG_ENV
from tests.support.answer import Answer
from tests.support.crowd import ask_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
#: Seconds until a test that waits gives up.
PATIENCE = 20.0

APP = ("app.py",)
GUNICORN = ("-m", "gunicorn", "-c", "gunicorn.conf.py", "app:create_app()")


def eventually(condition: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Return the first true answer of ``condition``; fail if it gives none in time."""
    end = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < end, f"did not happen within {timeout} s"
        time.sleep(0.005)
    return answer


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without any setting of ours, and with these variables."""
    ours = {each.env for each in DECLARATIONS} | {CONFIG_ENV}
    return {name: value for name, value in os.environ.items() if name not in ours} | variables


class Service:
    """One running service. Settings are flags for ``python app.py``, variables for gunicorn; port and host are given.

    It runs in a session of its own, so that a test can send Ctrl-C to the whole group.
    """

    def __init__(
        self, folder: Path, *, command: Sequence[str] = APP, secrets: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file = folder / "config.toml"
        self.config_file.touch()
        self._log_path = folder / "log.txt"
        given = {"host": "127.0.0.1", "port": 0, **settings}
        variables = {CONFIG_ENV: str(self.config_file), **(secrets or {})}
        command = list(command)
        if tuple(command) == APP:
            for name, value in given.items():
                command += [f"--{name.replace('_', '-')}", str(value)]
        else:
            variables |= {name.upper(): str(value) for name, value in given.items()}
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._port = 0

    # ---- life -----------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def port(self) -> int:
        """The port of the latest banner; waits for it."""
        if not self._port:
            self._port = int(eventually(self._banner)[1])
        return self._port

    def _banner(self) -> re.Match[str] | None:
        assert self.process.poll() is None, self.log
        return re.search(r"Auto-Batching Proxy \S+ on http://127\.0\.0\.1:(\d+)", self.log)

    def wait_until_serving(self) -> Self:
        """Block until the worker answers, and knows its upstream if that is up."""
        self.get("/health/ready")
        return self

    @property
    def workers(self) -> list[int]:
        """The ids of the worker processes that live."""
        children = psutil.Process(self.process.pid).children()
        return [each.pid for each in children if (line := _command_line(each)) and "embedded" not in line]

    def tree(self) -> list[psutil.Process]:
        """The master and everything below it."""
        master = psutil.Process(self.process.pid)
        return [master, *master.children(recursive=True)]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, timeout: float = PATIENCE) -> int:
        """End the service as an operator would; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def __enter__(self) -> Self:
        return self.wait_until_serving()

    def __exit__(self, *_: object) -> None:
        tree = self.tree() if self.process.poll() is None else []
        try:
            self.stop()
        finally:
            for each in tree:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            self.process.wait()

    # ---- talking --------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            sent = time.monotonic()
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, content, sent, time.monotonic())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def embed(self, inputs: Any, headers: Mapping[str, str] | None = None, **options: Any) -> Answer:
        body = json.dumps({"inputs": inputs, **options}).encode()
        return self.request("POST", "/embed", body, {"Content-Type": "application/json", **(headers or {})})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def say(self, raw: bytes) -> Answer:
        """Send these bytes and read one response."""
        with self.connect() as connection:
            connection.sendall(raw)
            return read_answer(connection)

    def crowd(self, requests: Sequence[bytes], *, gap: float = 0.0) -> list[Answer | None]:
        """Open one connection per request, then send all; None stands for a connection closed without a word.

        ``gap``: seconds between two sends.
        """
        return ask_at_once(self.port, requests, gap=gap)


def _command_line(process: psutil.Process) -> list[str]:
    """Return the command line; a process that has ended has none."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def embed_request(inputs: Any, headers: str = "", **options: Any) -> bytes:
    """Return the bytes of a whole ``POST /embed`` request."""
    return post(json.dumps({"inputs": inputs, **options}).encode(), headers)


def post(body: bytes, headers: str = "", path: str = "/embed") -> bytes:
    """Return the bytes of a whole POST request with a length."""
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*chunks: bytes) -> bytes:
    """Return the bytes of a whole POST request in these chunks."""
    head = b"POST /embed HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def read_answer(connection: socket.socket) -> Answer:
    """Read one response from a plain socket."""
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        content = response.read()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, content, came=time.monotonic())
    finally:
        response.close()
