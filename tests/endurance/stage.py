"""What the proofs stand on: upstream and service in processes of their own, samples, and the table at the end."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from benchmarks.processes import fetch, free_port
from tests.support.service import APP, ROOT, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The service with a variant of its app: settings travel in the environment.
VARIANT = ("-m", "gunicorn", "-c", "gunicorn.conf.py")


class Upstream:
    """The simulated upstream; it can be killed, and comes back on the same port."""

    def __init__(self, **behaviour: float | str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._behaviour = behaviour
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        command = [sys.executable, "-m", "tests.endurance.upstream", "--port", str(self.port)]
        self._process = subprocess.Popen([*command, "--behaviour", json.dumps(self._behaviour)], cwd=ROOT)
        eventually(self._answers)
        return self

    def _answers(self) -> bool:
        with suppress(OSError):
            return fetch(self.url, "/health", timeout=1.0)[0] == 200
        return False

    def behave(self, **behaviour: float | str) -> None:
        """Behave like this from now on, and for the rest by default."""
        fetch(self.url, "/behave", behaviour, timeout=5.0)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextmanager
def service(*, variant: str | None = None, **settings: Any) -> Iterator[Service]:
    """Run the service; ``variant``: a module of this package whose ``create_app`` takes the place of the real one."""
    command = APP if variant is None else (*VARIANT, f"tests.endurance.{variant}:create_app()")
    allow_many_files()
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), command=command, **settings) as running:
        eventually(lambda: running.get("/health/ready").status == 200)
        yield running


def allow_many_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def wait_for(condition: Any, timeout: float = 30.0) -> bool:
    """Return whether the condition came true in time."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with suppress(psutil.Error, OSError, AssertionError):
            if condition():
                return True
        await asyncio.sleep(0.02)
    return False


async def reload(running: Service) -> bool:
    """Send SIGHUP; return whether new workers took over."""
    before = running.workers
    running.signal(signal.SIGHUP)
    return await wait_for(lambda: (now := running.workers) and not set(now) & set(before))


def kill_worker(running: Service) -> None:
    os.kill(running.workers[0], signal.SIGKILL)


def metric(running: Service, name: str, part: str = "") -> float:
    """Sum the samples of a metric whose labels contain ``part``; 0 if there is none."""
    lines = running.get("/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((name + "{", name + " ")) and part in line)


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Report:
    """The figures of a proof, and whether its promise held."""

    def __init__(self, name: str) -> None:
        self._lines: list[tuple[str, str, str]] = []
        self._name = name
        self.held = True

    def note(self, what: str, figure: object) -> None:
        self._lines.append((what, _text(figure), ""))

    def demand(self, what: str, figure: object, wanted: str, held: bool) -> None:
        self._lines.append((what, _text(figure), f"{'ok' if held else 'BROKEN'} (wanted: {wanted})"))
        self.held = self.held and bool(held)

    def close(self) -> int:
        """Print the table; return the exit status."""
        width = max(len(line[0]) for line in self._lines)
        print(f"\n{self._name}: {'held' if self.held else 'BROKEN'}")
        for what, figure, verdict in self._lines:
            print(f"  {what:{width}}  {figure:>12}  {verdict}".rstrip())
        return 0 if self.held else 1


def _text(figure: object) -> str:
    return f"{figure:.3f}" if isinstance(figure, float) else str(figure)
