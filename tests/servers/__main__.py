"""``python -m tests.servers``: installs real servers, runs each behind the proxy, and prints a table of the checks."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import error, request

from tests.servers.checks import checks
from tests.servers.environments import MissingError
from tests.servers.kinds import SERVERS, Server, install, version
from tests.servers.running import running
from tests.support.service import GUNICORN, Service

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Return how many servers failed a check; one that cannot be installed here is told, and does not count."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"only these (default: {', '.join(each.name for each in SERVERS)})")
    options = parser.parse_args()
    wrong = 0
    for server in SERVERS:
        if not options.names or server.name in options.names:
            try:
                wrong += not _try(server)
            except MissingError as missing:
                print(f"skip  {server.name:22} {version(server):12} {missing}", flush=True)
    return wrong


def _try(server: Server) -> bool:
    """Run the checks against one server behind the proxy, and print its lines."""
    binaries = install(server)
    with running(server, binaries) as upstream, tempfile.TemporaryDirectory() as folder:
        # What a user would set: where the server is. The rest is found out.
        settings: dict[str, Any] = {"inference_url": upstream, "upstream_api": "auto"}
        with Service(Path(folder), command=GUNICORN, **settings) as service:
            found = _failures(server, upstream, f"http://127.0.0.1:{service.port}")
            log = service.log
    mark = "FAIL" if found else "ok"
    print(f"{mark:5} {server.name:22} {version(server):12} {_api(log)}", flush=True)
    for name, problem in found.items():
        print(f"        {name}: {problem}", flush=True)
    return not found


def _failures(server: Server, upstream: str, proxy: str) -> dict[str, str]:
    all_checks = checks(_asking(proxy), _direct(server, upstream), server.bad)
    return {name: problem for name, check in all_checks.items() if (problem := check())}


def _asking(proxy: str) -> Callable[[Any], tuple[int, Any]]:
    return lambda given: _post(f"{proxy}/embed", {"inputs": given})


def _direct(server: Server, upstream: str) -> Callable[[list[str]], list[list[float]]]:
    def asked(texts: list[str]) -> list[list[float]]:
        status, answer = _post(f"{upstream}{server.path}", server.body(texts))
        assert status == 200, answer
        return server.vectors(answer)

    return asked


def _post(url: str, body: Any) -> tuple[int, Any]:
    asked = request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with request.urlopen(asked, timeout=120) as answer:
            return answer.status, json.load(answer)
    except error.HTTPError as refused:
        text = refused.read()
        try:
            return refused.code, json.loads(text)
        except ValueError:
            return refused.code, text.decode("utf-8", "replace")


def _api(log: str) -> str:
    """Return what the proxy's log says of the API that it found."""
    told = re.search(r"speaks (.*)", log)
    return told[1][:140] if told else "says nothing of an API"


if __name__ == "__main__":
    sys.exit(main())
