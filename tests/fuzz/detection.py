"""What servers say of themselves: whatever a page holds, a search ends, and what it says is one safe line."""

from __future__ import annotations

from upstream.detection import Detector, Wanted
from upstream.http_reply import Reply
from upstream.kinds import dialect_of, sentence
from upstream.trials import MAX_CALLS

PAGES = ("/info", "/v1/models", "/models", "/openapi.json", "/api/tags", "/v2", "/v1/models/m", "POST")
STATUSES = (200, 404, 401, 422, 503, 500)

_SCHEMA = b'{"properties":{"texts":{"type":"array","items":{"type":"string"}}},"required":["texts","model"]}'
_ROUTE = b'{"post":{"requestBody":{"content":{"application/json":{"schema":%b}}}}}' % _SCHEMA
SEEDS = [
    b'\0\0{"model_id":"m","model_type":{}}',
    b'\1\0{"object":"list","data":[{"id":"m"}]}',
    b'\1\0{"models":["m"]}',
    b'\3\0{"paths":{"/embed":%b}}' % _ROUTE,
    b'\3\0{"paths":{"/embed":{"post":{"requestBody":{"$ref":"#/paths"}}}}}',
    b'\4\0{"models":[{"name":"m"}]}',
    b'\5\0{"name":"triton","extensions":[]}',
    b'\6\0{"name":"m","ready":true}',
    b'\7\0{"data":[{"embedding":[1]}]}',
    b'\7\3{"detail":[{"loc":["body","texts"],"type":"missing"}]}',
    b"\7\0[0.1]",
]
TOKENS = [
    *(b'"paths":', b'"post":', b'"requestBody":', b'"content":', b'"application/json":', b'"schema":', b'"$ref":'),
    *(b'"properties":', b'"anyOf":', b'"type":', b'"array"', b'"string"', b'"items":', b'"required":', b'"maxItems":'),
    *(b'"#/paths/~1embed"', b'"/embed":', b'"detail":', b'"loc":', b'"missing"', b'"body"', b"\\ud800", b"\\u001b"),
    *(b"null", b"true", b"1e999", b"[", b"]", b"{", b"}", b",", b'"', b"\xff"),
]


def check(data: bytes) -> None:
    """Two bytes choose the page that is there and its status, the rest is its body."""
    if len(data) < 2:
        return
    there, reply = PAGES[data[0] % len(PAGES)], Reply(STATUSES[data[1] % len(STATUSES)], {}, data[2:])
    for wanted in (Wanted(), Wanted(model="m"), Wanted("plain", extra='{"model":"m"}')):
        calls: list[str] = []

        def get(path: str) -> Reply:
            return reply if path == there else Reply(404, {}, b"")

        def post(path: str, _: bytes, calls: list[str] = calls) -> Reply:
            calls.append(path)
            return reply if there == "POST" else Reply(404, {}, b"")

        detector = Detector(get, post, wanted, url="http://127.0.0.1:1")
        found = detector.find(may_call=True)
        assert len(calls) <= MAX_CALLS
        told = detector.reason if found is None else sentence(found, dialect_of(found, "http://127.0.0.1:1", wanted))
        assert told
        assert told.isprintable()
