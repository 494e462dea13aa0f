"""``python -m tests.clients``: drives every client there is, Node's and Go's too, and prints a table with versions."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import request

from tests.clients import installed
from tests.clients.installed import CURL, GO_CLIENTS, NODE_CLIENTS, PYTHON_CLIENTS, Client, MissingError
from tests.clients.judging import problems
from tests.support.service import GUNICORN, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main() -> int:
    """Return how many clients got something wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these clients (default: all)")
    parser.add_argument("--url", help="a service that runs already, in place of one over the embedded model")
    parser.add_argument("--model", default=MODEL, help="the model to ask for (default: %(default)s)")
    options = parser.parse_args()
    clients = [*PYTHON_CLIENTS, CURL, *NODE_CLIENTS, *GO_CLIENTS]
    wrong = 0
    with _service(options.url) as url:
        reference = _Reference(url)
        for client in clients:
            if not options.names or client.name in options.names:
                wrong += not _drive(client, url, options.model, reference)
    return wrong


@contextmanager
def _service(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url.rstrip("/")
        return
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), command=GUNICORN) as service:
        yield f"http://127.0.0.1:{service.port}"


def _drive(client: Client, url: str, model: str, reference: _Reference) -> bool:
    """Drive one client and print its line; return whether it is right, or not installed."""
    try:
        command = _command(client)
    except MissingError as missing:
        print(f"skip  {client.name:26} {missing}", flush=True)
        return True
    began = time.monotonic()
    told = installed.run(command, url, model)
    took = time.monotonic() - began
    found = problems(told, reference)
    mark = "FAIL" if found else "ok"
    print(f"{mark:5} {client.name:26} {installed.version(client):16} {len(told)} cases, {took:.1f} s", flush=True)
    for line in found:
        print(f"        {line[:200]}", flush=True)
    return not found


def _command(client: Client) -> list[str]:
    if client is CURL:
        return installed.curl_command()
    if client in NODE_CLIENTS:
        return installed.node_command(client)
    if client in GO_CLIENTS:
        return installed.go_command(client)
    return installed.python_command(client)


class _Reference:
    """What ``POST /embed`` answers for one input, asked for alone and once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: dict[str, list[float]] = {}

    def __call__(self, item: Any, options: Mapping[str, Any]) -> list[float]:
        name = json.dumps([item, options])
        if name not in self._known:
            body = json.dumps({"inputs": [item], **options}).encode()
            asked = request.Request(f"{self._url}/embed", body, {"Content-Type": "application/json"})
            with request.urlopen(asked, timeout=60) as answer:
                self._known[name] = json.load(answer)[0]
        return self._known[name]


if __name__ == "__main__":
    sys.exit(main())
