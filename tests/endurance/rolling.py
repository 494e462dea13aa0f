"""Two replicas behind HAProxy restart one after the other under load, and no client notices.

It takes ``deploy/haproxy.cfg``, the file that users get, with the addresses of this run: health checks on
``/health/ready``, a repeat on the other replica for what a closing one did not answer (embedding twice does no harm),
and connections to a replica that HAProxy may use for all clients.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import fetch, free_port
from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, allow_many_files, wait_for
from tests.support.service import ROOT, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIGURATION = ROOT / "deploy" / "haproxy.cfg"


class Replica:
    """One service on a port of its own, which it takes again after a restart."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.port = free_port()
        self._folder = folder
        self._upstream = upstream
        self.statuses: list[int | None] = []
        self.start()

    def start(self) -> None:
        self._service = Service(self._folder, inference_url=self._upstream.url, port=self.port)

    def ready(self) -> bool:
        return fetch(f"http://127.0.0.1:{self.port}", "/health/ready", timeout=1.0)[0] == 200

    async def restart(self) -> None:
        self._service.signal(signal.SIGTERM)
        await wait_for(lambda: self._service.process.poll() is not None, 60.0)
        self.statuses.append(self._service.process.poll())
        self.start()
        await wait_for(self.ready)

    def stop(self) -> None:
        self._service.stop()


def configuration(port: int, replicas: Sequence[Replica], without: Sequence[str] = ()) -> str:
    """Return the users' file with the addresses of this run, less the lines that begin with one of these words."""
    lines = CONFIGURATION.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.strip().startswith(tuple(without)))
    text = text.replace("bind :3000", f"bind 127.0.0.1:{port}")
    for number, replica in enumerate(replicas, 1):
        text = text.replace(f"replica{number}:3000", f"127.0.0.1:{replica.port}")
    return text


async def load(options: argparse.Namespace, port: int, replicas: Sequence[Replica]) -> Crowd:
    await wait_for(lambda: all(replica.ready() for replica in replicas))
    await wait_for(lambda: fetch(f"http://127.0.0.1:{port}", "/health/ready", timeout=1.0)[0] == 200)
    await asyncio.sleep(2)
    crowd = Crowd(port, options.clients, one_text, retries=False)
    crowd.start()
    for number in range(options.times):
        await replicas[number % 2].restart()
        # HAProxy has to see that it is back before the other one goes.
        await asyncio.sleep(options.pause)
    await crowd.stop()
    return crowd


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance rolling", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--pause", type=float, default=2.5, help="seconds between two restarts")
    parser.add_argument("--without", nargs="*", default=[], help="leave out the lines of haproxy.cfg that begin so")
    options = parser.parse_args(argv)
    if (haproxy := shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")) is None:
        sys.stderr.write("haproxy is not installed: apt-get install haproxy\n")
        return 2
    allow_many_files()
    report = Report("rolling")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(Upstream(fixed=10))
        replicas = [Replica(folder / str(number), upstream) for number in range(2)]
        for replica in replicas:
            stack.callback(replica.stop)
        port, file = free_port(), folder / "haproxy.cfg"
        file.write_text(configuration(port, replicas, options.without), encoding="utf-8")
        balancer = subprocess.Popen(
            [haproxy, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stack.callback(balancer.wait)
        stack.callback(balancer.kill)
        crowd = asyncio.run(load(options, port, replicas))
    tally = crowd.tally
    statuses = [status for replica in replicas for status in replica.statuses]
    report.demand("restarts", len(statuses), f"{options.times}, all with status 0", statuses == [0] * options.times)
    for outcome, count in sorted(tally.outcomes.items()):
        report.note(f"  {outcome}", count)
    errors = tally.begun - tally.outcomes["200"]
    report.demand("errors that clients saw", errors, "0", errors == 0)
    report.demand("mixed up", tally.mixed_up + tally.unasked, "0", tally.mixed_up + tally.unasked == 0)
    return report.close()
