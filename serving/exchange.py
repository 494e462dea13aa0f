"""One request on a connection, together with the response it will get and its WSGI environment."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.http import wsgi
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.errors import InvalidHeader, NoMoreData, ParseException, UnsupportedTransferCoding

from api.body import BrokenBodyError
from api.environ import IS_GONE
from serving.chunks import ChunkReader
from serving.connection import Request
from serving.heads import ReceivedBody
from serving.response import WholeResponse

if TYPE_CHECKING:
    from serving.connection import Connection
    from serving.heads import Head, Heads

#: The most bytes of a body that are read only to get to the next request.
MOST_DRAINED = 65_536


class ChunkedBody(Body):  # type: ignore[misc]
    """A body in chunks whose errors are those that the application knows: ``BrokenBodyError``."""

    def _read_reader(self, size: int) -> bytes:
        try:
            data: bytes = super()._read_reader(size)
        except (ParseException, NoMoreData) as problem:
            raise BrokenBodyError(str(problem)) from problem
        return data


class Exchange(NamedTuple):
    """A request whose head has been read, and what the application is called with."""

    request: Request
    response: WholeResponse
    environ: dict[str, Any]


def read_request(conn: Connection, heads: Heads, until: float) -> Exchange:
    """Read a request's head. All of the request has to be read by the monotonic moment ``until``. Pool thread.

    A head that ``heads`` remembers is not parsed if all of its body is here too. Raises ``TooSlowError``, ``OSError``
    for a broken connection, ``NoMoreData`` and ``StopIteration`` where no request follows, and gunicorn's
    ``ParseException`` for what it refuses.
    """
    unreader = conn.parser.unreader
    unreader.deadline = until
    data: bytes = unreader.buf.getvalue()
    end = data.find(b"\r\n\r\n")
    head = data[: end + 4] if end >= 0 else b""  # half a head says nothing: anything may follow it
    known = heads.find(conn.server, head) if head else None
    if known is not None and len(data) >= len(head) + known.body_length:
        exchange = _recall(conn, known, data, len(head))
    else:
        exchange = _parse(conn)
        # A head is remembered only if it came in one piece and the parser took these very bytes, no more and no fewer.
        left = unreader.buf.getbuffer().nbytes
        if known is None and head and left == len(data) - len(head):
            heads.remember(conn.server, head, exchange.request, exchange.environ)
    if conn.is_gone is not None:
        exchange.environ[IS_GONE] = conn.is_gone
    return exchange


def is_drained(request: Request) -> bool:
    """Return whether the request's body has been read to its end, or can be without waiting. Pool thread.

    Only then does the next request begin where the connection's unread bytes begin.
    """
    body, unreader = request.body, request.unreader
    if body.failed or unreader.ended:
        return False
    left = getattr(body.reader, "length", None)
    if left == 0:
        return True
    if left is not None and left > MOST_DRAINED:
        return False
    drained = 0
    try:
        with unreader.at_hand():
            while data := body.read(MOST_DRAINED // 8):
                drained += len(data)
                if drained > MOST_DRAINED:
                    return False
    except (OSError, BrokenBodyError):
        return False
    return not unreader.ended


def _parse(conn: Connection) -> Exchange:
    """Let gunicorn parse the next request, and refuse what it lets pass."""
    unreader = conn.parser.unreader
    unreader.asks = False
    request = next(conn.parser)
    check(request)
    if isinstance(request.body.reader, ChunkedReader):  # a body of known length can only end early, or be too slow
        request.body = ChunkedBody(ChunkReader(request, unreader))
    # gunicorn would send 100 Continue here, for a body that may not be wanted.
    expected, request._expected_100_continue = request._expected_100_continue, False  # noqa: SLF001
    response, environ = wsgi.create(
        request, conn.sock, conn.client, conn.server, conn.cfg, response_class=WholeResponse
    )
    request._expected_100_continue = unreader.asks = expected  # noqa: SLF001
    environ["wsgi.multithread"] = True
    return Exchange(request, response, environ)


def check(request: Request) -> None:
    """Refuse what gunicorn lets pass: raises ``UnsupportedTransferCoding`` and ``InvalidHeader``."""
    has_host = request.version < (1, 1)
    for name, value in request.headers:
        if name == "HOST":
            has_host = True
        elif name == "TRANSFER-ENCODING" and value.lower() != "chunked":
            # gunicorn lets other codings pass beside it, and hands the body over still coded.
            raise UnsupportedTransferCoding(value)
    if not has_host:
        raise InvalidHeader("HOST is missing", req=request)


def _recall(conn: Connection, head: Head, data: bytes, start: int) -> Exchange:
    """Make the request whose head is known and whose body is here too: ``data`` from ``start`` on."""
    end = start + head.body_length
    parser, client = conn.parser, conn.client
    parser.unreader.buf = BytesIO()
    if end < len(data):
        parser.unreader.unread(data[end:])
    request = Request.__new__(Request)
    request.__dict__.update(head.attributes)
    request.unreader = parser.unreader
    request.peer_addr = request.remote_addr = client
    request.body = ReceivedBody(data[start:end])
    parser.req_count += 1
    parser.mesg = request
    environ = head.environ.copy()
    environ["wsgi.input"] = request.body
    environ["gunicorn.socket"] = conn.sock
    if isinstance(client, tuple):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    else:
        environ["REMOTE_ADDR"] = client
    return Exchange(request, WholeResponse(request, conn.sock, conn.cfg), environ)
