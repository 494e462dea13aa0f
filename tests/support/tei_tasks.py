"""A TEI-like server that answers every batched route; each result tells which input and options it belongs to."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

#: Seconds that a call takes: while some are under way, the next batches fill.
LATENCY = 0.03
INFO = {"model_id": "tasks", "max_client_batch_size": 32, "max_concurrent_requests": 512, "auto_truncate": True}


class Key(NamedTuple):
    """What all items of one call have in common."""

    path: str
    options: str


def result(path: str, options: dict[str, Any], item: Any) -> Any:
    """Return the result of one input, which no other input, path or options share."""
    said = json.dumps([path, options, item], sort_keys=True)
    numbers = [byte / 256 for byte in hashlib.sha256(said.encode()).digest()[:6]]
    return {
        "/embed": numbers,
        "/embed_all": [numbers, numbers[::-1]],
        "/embed_sparse": [{"index": at, "value": number} for at, number in enumerate(numbers)],
        "/predict": [{"score": numbers[0], "label": "LABEL_0"}],
    }[path]


class TaskServer:
    """Serves on a port of the system's choosing. ``calls``: the number of items of each call, by its key."""

    def __init__(self) -> None:
        self.calls: defaultdict[Key, list[int]] = defaultdict(list)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        """Return the results of one call, in order."""
        inputs = body.pop("inputs")
        with self._lock:
            self.calls[Key(path, json.dumps(body, sort_keys=True))].append(len(inputs))
        time.sleep(LATENCY)
        return [result(path, body, item) for item in inputs]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        tasks = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                self._send(200 if self.path in {"/info", "/health"} else 404, INFO)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._send(200, tasks.answer(self.path, body))

            def _send(self, status: int, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
