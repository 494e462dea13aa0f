"""Runs a real server for as long as a block runs."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib import error, request

from tests.servers.environments import FOLDER, MODEL, ROOT, SCRIPTS, MissingError
from tests.servers.kinds import BAD_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.kinds import Server

START_SECONDS = 180.0
_QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@contextmanager
def running(server: Server, binaries: Path) -> Iterator[str]:
    """Run a server while the block runs; give its URL once it answers. Raise `MissingError` if it does not."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | _QUIET | {"BAD_TEXT": BAD_TEXT, "MODEL_FOLDER": str(MODEL), "PYTHONPATH": str(ROOT)}
    log_path = FOLDER / f"{server.name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            server.start(binaries, port), cwd=SCRIPTS, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, process, log_path)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            request.urlopen(f"{url}/docs", timeout=5).close()
        except error.HTTPError:
            return  # an answer all the same
        except OSError:
            time.sleep(0.5)
        else:
            return
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-2:]
    raise MissingError(f"does not start: {' '.join(last)[-300:]}")
