"""Text Embeddings Inference (TEI), and servers that speak like it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from batching.errors import UpstreamProtocolError
from batching.key import BatchKey, Options, Task
from batching.outcomes import Answer
from formats.bounded import Bounded
from formats.slices import NotVectorsError, split_vectors
from upstream.dialects.dialect import Refusal, RefusalKind, UpstreamInfo
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.call import Item
    from upstream.http_reply import Reply

#: Bytes that one item's vector may take in a reply: 16,384 numbers of 32 characters.
MAX_REPLY_BYTES_PER_ITEM = 16_384 * 32
#: Bytes of a reply beside its vectors.
MAX_REPLY_BYTES_BESIDE = 65_536
#: Characters of a server's error text that are passed on.
MAX_RELAYED_TEXT = 500
#: Keys whose options are kept as they stand in a body.
MAX_REMEMBERED_KEYS = 256
#: What a server's error type has to look like to be passed on.
_ERROR_TYPE = re.compile(r"[A-Za-z]{1,40}").fullmatch
#: What reading a JSON text may raise: its strings are decoded, and may not be UTF-8.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PATHS = {Task.EMBED: "/embed"}
_DIRECTIONS = {"left": "Left", "right": "Right"}
_KINDS = {
    400: RefusalKind.INPUTS,
    413: RefusalKind.INPUTS,
    422: RefusalKind.INPUTS,
    429: RefusalKind.BUSY,
    503: RefusalKind.NOT_READY,
}

_to_json = msgspec.json.Encoder(order="deterministic").encode


class TeiDialect:
    """The bodies and replies of TEI's routes. Unknown options are passed on: they may mean something to the server."""

    health_path = "/health"

    def __init__(self) -> None:
        self._members: Bounded[BatchKey, bytes] = Bounded(MAX_REMEMBERED_KEYS)

    def cannot(self, key: BatchKey) -> str | None:
        return None if key.task in _PATHS else f"a TEI upstream cannot do {key.task}"

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        members = self._members.get(key)
        if members is None:
            members = self._members[key] = _members(key.options)
        return Request(_PATHS[key.task], b'{"inputs":[' + b",".join(items) + b"]" + members + b"}")

    def reply_limit(self, key: BatchKey, count: int) -> int:  # noqa: ARG002 - all tasks give vectors so far
        return MAX_REPLY_BYTES_BESIDE + count * MAX_REPLY_BYTES_PER_ITEM

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:  # noqa: ARG002
        try:
            return Answer(*split_vectors(reply.body, count))
        except NotVectorsError as problem:
            raise UpstreamProtocolError(str(problem)) from problem

    def refusal(self, reply: Reply) -> Refusal:
        kind = _KINDS.get(reply.status, RefusalKind.FAILED)
        return Refusal(kind, *_words(reply.body)) if kind is RefusalKind.INPUTS else Refusal(kind)

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        reply = get("/info")
        said = _decoded(reply.body) if reply is not None and reply.status == 200 else None
        if not isinstance(said, dict):
            return None
        model = said.get("model_id")
        return UpstreamInfo(
            model if isinstance(model, str) else None,
            _positive(said.get("max_client_batch_size")),
            _positive(said.get("max_concurrent_requests")),
        )


def _members(options: Options) -> bytes:
    """Return the options as JSON members to stand behind the inputs: ``b',"normalize":false'``, sorted by name."""
    given: dict[str, Any] = {name: value for name, value in options._asdict().items() if value is not None}
    told = {name: _to_json(value) for name, value in given.items() if name not in {"more", "truncation_direction"}}
    if options.truncation_direction is not None:
        told["truncation_direction"] = _to_json(_DIRECTIONS[options.truncation_direction])
    told.update(options.more)
    return b"".join(b"," + _to_json(name) + b":" + value for name, value in sorted(told.items()))


def _words(body: bytes) -> tuple[str, str]:
    """Return the text and type of a server's error body, empty and ``Validation`` where it has none."""
    said = _decoded(body)
    if not isinstance(said, dict):
        return "", "Validation"
    text, error_type = said.get("error"), said.get("error_type")
    return (
        text[:MAX_RELAYED_TEXT] if isinstance(text, str) else "",
        error_type if isinstance(error_type, str) and _ERROR_TYPE(error_type) else "Validation",
    )


def _decoded(body: bytes) -> Any:
    """Return the value of a JSON text; None if it is none."""
    try:
        return msgspec.json.decode(body)
    except _UNREADABLE:
        return None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
