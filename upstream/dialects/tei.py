"""Text Embeddings Inference (TEI), and servers that speak like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from batching.errors import UpstreamProtocolError
from batching.key import BatchKey, Options, Task
from batching.outcomes import Answer
from formats.bounded import Bounded
from formats.slices import BadRowsError, NotVectorsError, split_vectors
from upstream.dialects.dialect import UpstreamInfo
from upstream.dialects.refusals import refusal
from upstream.dialects.relaying import plain
from upstream.dialects.words import decoded
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.call import Item
    from upstream.dialects.dialect import Refusal
    from upstream.http_reply import Reply

#: Bytes that one item's vector may take in a reply: 16,384 numbers of 32 characters.
MAX_REPLY_BYTES_PER_ITEM = 16_384 * 32
#: Bytes of a reply beside its vectors.
MAX_REPLY_BYTES_BESIDE = 65_536
#: Keys whose options are kept as they stand in a body.
MAX_REMEMBERED_KEYS = 256
_PATHS = {Task.EMBED: "/embed"}
_DIRECTIONS = {"left": "Left", "right": "Right"}

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
        except BadRowsError:
            raise
        except NotVectorsError as problem:
            raise UpstreamProtocolError(str(problem)) from problem

    def refusal(self, reply: Reply) -> Refusal:
        return refusal(reply)

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        reply = get("/info")
        said = decoded(reply.body) if reply is not None and reply.status == 200 else None
        if not isinstance(said, dict):
            return None
        model = said.get("model_id")
        return UpstreamInfo(
            plain(model) or None if isinstance(model, str) else None,
            _positive(said.get("max_client_batch_size")),
            _positive(said.get("max_concurrent_requests")),
            _revision(said),
        )


def _revision(said: dict[str, Any]) -> str | None:
    """Return what tells two models of one name apart: the hash of the weights, and how vectors are made of tokens."""
    kind = said.get("model_type")
    embedding = kind.get("embedding") if isinstance(kind, dict) else None
    pooling = embedding.get("pooling") if isinstance(embedding, dict) else None
    told = [plain(each) for each in (said.get("model_sha"), pooling) if isinstance(each, str)]
    return ", ".join(filter(None, told)) or None


def _members(options: Options) -> bytes:
    """Return the options as JSON members to stand behind the inputs: ``b',"normalize":false'``, sorted by name."""
    given: dict[str, Any] = {name: value for name, value in options._asdict().items() if value is not None}
    told = {name: _to_json(value) for name, value in given.items() if name not in {"more", "truncation_direction"}}
    if options.truncation_direction is not None:
        told["truncation_direction"] = _to_json(_DIRECTIONS[options.truncation_direction])
    told.update(options.more)
    return b"".join(b"," + _to_json(name) + b":" + value for name, value in sorted(told.items()))


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
