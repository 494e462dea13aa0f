"""Keeps the embedded server running as a child process, at one URL, for as long as its parent lives."""

import http.client
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from embedded import weights

FIRST_DELAY = 0.5  # seconds before the first restart
LONGEST_DELAY = 10.0
HEALTHY_AFTER = 30.0  # seconds alive after which the delays begin anew

_PROJECT_ROOT = Path(__file__).resolve().parent.parent
_BACKLOG = 1024

logger = logging.getLogger("embedded")


def restart_delay(previous: float | None, lived: float) -> float:
    """Return the seconds to wait before a restart.

    `previous` is the wait before the child that just died (None for the first child), `lived` its seconds
    alive. Deaths in a row double the wait up to `LONGEST_DELAY`; `HEALTHY_AFTER` seconds alive reset it.
    """
    if previous is None or lived >= HEALTHY_AFTER:
        return FIRST_DELAY
    return min(2 * previous, LONGEST_DELAY)


def relay(output: IO[bytes]) -> None:
    """Say again, line by line, what the child says, until its end: its JSON as it is, anything else as log lines."""
    with output, suppress(OSError, ValueError):
        for line in output:
            text = line.decode("utf-8", "backslashreplace").rstrip()
            if text.startswith("{") and text.endswith("}"):
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()
            elif text:
                logger.info("%s", text)


class _Child:
    """One child process and the two pipes that tie it to its parent.

    - its stdin: the parent holds the write end, so the child reads EOF when the parent dies, even by kill -9;
    - the lifeline: the child holds the write end, so the parent reads EOF when the child dies. wait() alone
      would not do: gunicorn's own SIGCHLD handler may have reaped the child already.

    With ``log_format`` json a third pipe takes what the child says, for libraries in C write lines of their own.
    """

    def __init__(self, listener: socket.socket, threads: int, log_format: str) -> None:
        self.lifeline, lifeline_of_child = os.pipe()
        # fmt: off
        command = [
            sys.executable, "-m", "embedded", "--parent-pipe",
            "--fd", str(listener.fileno()), "--threads", str(threads), "--log-format", log_format,
        ]
        # fmt: on
        is_json = log_format == "json"
        try:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                cwd=_PROJECT_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if is_json else None,
                stderr=subprocess.STDOUT if is_json else None,
                pass_fds=(listener.fileno(), lifeline_of_child),
                bufsize=0,
            )
        except OSError:
            os.close(self.lifeline)
            raise
        finally:
            os.close(lifeline_of_child)
        if self.process.stdout is not None:
            output = self.process.stdout
            threading.Thread(target=relay, args=(output,), name="embedded-log", daemon=True).start()

    def wait(self) -> None:
        """Block until the process has ended."""
        while os.read(self.lifeline, 1):
            pass
        self.process.wait()  # reaps it, unless gunicorn's SIGCHLD handler did

    def close(self) -> None:
        """Close the parent's ends of both pipes."""
        os.close(self.lifeline)
        if self.process.stdin is not None:
            self.process.stdin.close()

    def disown(self) -> None:
        """In a forked process: close the pipes, which must end with the parent, and neither reap the child nor warn."""
        self.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.returncode = 0


class EmbeddedServer:
    """The embedded server's parent: `start` it in the gunicorn master, before the workers are forked.

    The listening socket belongs to the parent and outlives every child, so the URL never changes and a client
    that connects during a restart waits instead of being refused. Processes forked from the parent close their
    copies of the socket and the pipes; in them, `stop` does nothing.
    """

    def __init__(self, *, threads: int = 1, log_format: str = "text") -> None:
        """``threads``: those that compute. ``log_format``: text or json, for what the child says."""
        self._threads = threads
        self._log_format = log_format
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        # Guards _child and _listener. Held while a child is started and across every fork, so that a forked
        # process knows of each descriptor it has to close.
        self._lock = threading.RLock()
        self._child: _Child | None = None
        self._listener: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None before `start`, after `stop` and between a death and its restart."""
        child = self._child
        return None if child is None else child.process.pid

    def start(self) -> str:
        """Start the child and return its URL; it answers once the model is loaded (about a second).

        Call it once. Raise `WeightsError` where the model is not installed.
        """
        weights.MODEL.locate()
        weights.TOKENIZER.locate()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        host, port = self._listener.getsockname()
        os.register_at_fork(before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._let_go)
        child = self._spawn()
        threading.Thread(target=self._supervise, args=(child,), name="embedded-supervisor", daemon=True).start()
        return f"http://{host}:{port}"

    def wait_until_ready(self, timeout: float) -> bool:
        """Return whether the child answers within `timeout` seconds; while it loads, the connection is queued."""
        listener = self._listener
        if listener is None:
            return False
        host, port = listener.getsockname()
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, timeout: float = 10.0) -> None:
        """Let the child finish its requests, for at most `timeout` seconds, then end it. May be repeated."""
        if self._listener is None:  # never started, or forked from the process that did
            return
        with self._lock:
            self._stopping.set()
            child = self._child
        if child is not None:
            child.process.terminate()
            if not self._stopped.wait(timeout):
                logger.warning("embedded server still busy after %.1f s: killing it", timeout)
                child.process.kill()
        self._stopped.wait(timeout)
        self._listener.close()

    def _spawn(self) -> _Child | None:
        """Start a child, unless stopping; None where there is none."""
        with self._lock:
            if self._stopping.is_set() or self._listener is None:
                return None
            self._child = _Child(self._listener, self._threads, self._log_format)
            return self._child

    def _supervise(self, child: _Child | None) -> None:
        """Run on the supervisor thread: wait for the child's end, wait a little, start the next one."""
        delay = None
        started = time.monotonic()
        while True:
            if child is not None:
                child.wait()
                with self._lock:
                    self._child = None
                    child.close()
            if self._stopping.is_set():
                break
            lived = time.monotonic() - started
            delay = restart_delay(delay, lived)
            logger.warning("embedded server died after %.1f s: restarting it in %.1f s", lived, delay)
            if self._stopping.wait(delay):
                break
            started = time.monotonic()
            try:
                child = self._spawn()
            except OSError:
                child = None  # counts as a child that died at once
                logger.exception("embedded server could not be started")
        self._stopped.set()

    def _let_go(self) -> None:
        """Run in every process forked from the parent: close the copies of what must end with the parent."""
        if self._child is not None:
            self._child.disown()
            self._child = None
        if self._listener is not None:
            with suppress(OSError):
                self._listener.close()
            self._listener = None
        self._lock.release()
