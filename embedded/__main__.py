"""`python -m embedded`: loads the model and serves it until SIGTERM, or until the parent is gone."""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

from config.console import JsonLines, take_over
from config.logs import StderrHandler, formatter
from embedded.progress import Progress
from embedded.weights import WeightsError

HTTP_THREADS = 20  # they mostly wait for the one inference; 17 full batches exhaust the permits first
CONNECTION_LIMIT = 1024
HARD_BODY_LIMIT = 16_000_000  # bytes; up to here the app answers 413 in JSON, beyond it waitress does, in text
_POLL = 0.2  # seconds between two looks at the stop flag


def main(argv: Sequence[str] | None = None) -> int:
    """Serve; return the exit status: 0 after SIGTERM, 1 where the model cannot be loaded."""
    options = _parse(argv)
    if options.parent_pipe:
        # Ctrl-C reaches the whole foreground group, but the parent still drains; it sends SIGTERM when it is done.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_die_with_parent, name="parent-pipe", daemon=True).start()
    handler = StderrHandler()
    handler.setFormatter(formatter(options.log_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    take_over(options.log_format)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # waiting for the one inference is normal here
    is_json = options.log_format == "json"
    progress = Progress(JsonLines(handler.stream, "embedded", logging.INFO) if is_json else sys.stderr, total=5)
    try:
        application = _load(options.threads, progress)
    except WeightsError as error:
        print(f"\nembedded: {error}", file=sys.stderr)
        return 1
    listener = _open_listener(options)
    host, port = listener.getsockname()[:2]
    progress.finish(f"ready on http://{host}:{port}")
    _serve(application, listener)
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embedded", description=__doc__)
    parser.add_argument("--fd", type=int, help="serve on this inherited listening socket")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind without --fd (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to bind without --fd (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads per inference (default: %(default)s)")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="(default: %(default)s)")
    parser.add_argument("--parent-pipe", action="store_true", help="exit as soon as stdin is at its end")
    return parser.parse_args(argv)


def _die_with_parent() -> None:
    """Exit when the write end of stdin is closed: by the parent, or by the kernel when the parent was killed."""
    while os.read(0, 4096):
        pass
    os._exit(0)  # no client is left to answer, and there is nothing to clean up


def _load(threads: int, progress: Progress) -> Any:
    with progress.step("importing"):  # numpy and onnxruntime: a good part of the start
        from embedded import model, server  # noqa: PLC0415
    return server.create_app(model.load(threads=threads, step=progress.step))


def _open_listener(options: argparse.Namespace) -> socket.socket:
    if options.fd is not None:
        return socket.socket(fileno=options.fd)
    return socket.create_server((options.host, options.port), backlog=1024)


def _serve(application: Any, listener: socket.socket) -> None:
    """Serve until SIGTERM (or Ctrl-C when run by hand), then finish the requests in flight."""
    from waitress import create_server, wasyncore  # noqa: PLC0415

    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, stop)

    # waitress's own `run` drops the requests in flight when it is stopped; this loop finishes them.
    channels: dict[int, Any] = {}
    server = create_server(
        application,
        map=channels,
        sockets=[listener],
        threads=HTTP_THREADS,
        connection_limit=CONNECTION_LIMIT,
        max_request_body_size=HARD_BODY_LIMIT,
        ident="embedded",
    )
    while True:
        last = stopping.is_set()  # read before the turn, which still takes what had arrived by then
        wasyncore.loop(timeout=_POLL, use_poll=True, map=channels, count=1)
        if last and not any(map(_is_busy, server.active_channels.values())):
            return


def _is_busy(channel: Any) -> bool:
    """Whether a connection has a request being served, or an answer not yet sent."""
    return bool(channel.requests or channel.total_outbufs_len)


if __name__ == "__main__":
    sys.exit(main())
