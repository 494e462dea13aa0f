"""Text Embeddings Inference (TEI), and servers that speak like it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from batching.errors import Unsupported, UpstreamProtocolError
from batching.key import BatchKey, Options, Task
from batching.outcomes import Answer
from formats.bounded import Bounded
from formats.elements import NotElementsError, split_elements
from formats.slices import BadRowsError, NotVectorsError, split_vectors
from upstream.dialects.dialect import UpstreamInfo
from upstream.dialects.foreign import without_foreign
from upstream.dialects.refusals import refusal
from upstream.dialects.relaying import plain
from upstream.dialects.tei_model import TeiModel, model_of
from upstream.dialects.texts import as_embedding, check_instances
from upstream.dialects.words import decoded
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batching.call import Item
    from upstream.dialects.dialect import Refusal
    from upstream.http_reply import Reply

#: Bytes that one item's vector may take in a reply: 16,384 numbers of 32 characters. Labels with scores take less.
MAX_REPLY_BYTES_PER_ITEM = 16_384 * 32
#: Bytes that a vector for each token may take, and the pairs of a sparse vector.
MAX_REPLY_BYTES_OF = {Task.EMBED_ALL: 32 * 2**20, Task.EMBED_SPARSE: 4 * 2**20}
#: Bytes of all results of a reply, where one item's may be that long.
MAX_REPLY_BYTES = 256 * 2**20
#: Bytes of a reply beside its results.
MAX_REPLY_BYTES_BESIDE = 65_536
#: Keys of which is kept what they are for this server, and how their options stand in a body.
MAX_REMEMBERED_KEYS = 256

_PATHS = {
    Task.EMBED: "/embed",
    Task.EMBED_ALL: "/embed_all",
    Task.EMBED_SPARSE: "/embed_sparse",
    Task.CLASSIFY: "/predict",
}
#: What is asked of one TEI as clients wrote it.
_FORWARDED = frozenset({"/similarity", "/tokenize", "/decode", "/rerank", "/info"})
_PLAIN = BatchKey(Task.EMBED)
#: Members of other APIs that TEI's routes read over: OpenAI's, and those of the Hugging Face API.
_IGNORED = frozenset({"model", "encoding_format", "options"})
_DIRECTIONS = {"left": "Left", "right": "Right"}
#: How one item's result begins, where it is no vector: arrays of numbers, pairs (perhaps none), labels.
_RESULT_BEGINS = {
    Task.EMBED_ALL: re.compile(rb"\[\s*\["),
    Task.EMBED_SPARSE: re.compile(rb"\[\s*[{\]]"),
    Task.CLASSIFY: re.compile(rb"\[\s*\{"),
}
#: Each of strings, objects, null, true and false has at least one of these: arrays of numbers have none.
_OF_OTHERS = (b'"', b"{", b"u", b"l")

_to_json = msgspec.json.Encoder(order="deterministic").encode


class TeiDialect:
    """The bodies and replies of TEI's routes. Unknown options are passed on: they may mean something to the server."""

    name = "tei"
    health_paths: Sequence[str] = ("/health",)

    def __init__(self) -> None:
        self._model = TeiModel()
        self._members: Bounded[BatchKey, bytes] = Bounded(MAX_REMEMBERED_KEYS)
        self._fitted: Bounded[BatchKey, BatchKey] = Bounded(MAX_REMEMBERED_KEYS)
        #: The key that needs no second look; None while the model is known to give no vectors.
        self._plain: BatchKey | None = _PLAIN

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        """Return the key without the model, of which a TEI has one, and without options that say what holds anyway.

        Raises ``Unsupported``: 424, in TEI's words, for a task that its model is known not to do.
        """
        if key == self._plain:
            return key
        fitted = self._fitted.get(key)
        if fitted is None:
            fitted = self._fitted[key] = self._fit(key)
        if key.task is Task.PREDICT:
            check_instances(items)
        return fitted

    def _fit(self, key: BatchKey) -> BatchKey:
        task, options, _ = as_embedding(key, "a TEI")
        if task not in _PATHS:
            raise Unsupported(f"a TEI upstream cannot do {task}")
        self._model.check(BatchKey(task, options))
        options = without_foreign(options, self.name)
        if self._model.kind is not None:  # else it may be another server, which knows some of them
            options = _without_ignored(options)
        if options.truncate is not None and options.truncate == self._model.auto_truncate:
            options = options._replace(truncate=None)
        return BatchKey(task, options)

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        members = self._members.get(key)
        if members is None:
            members = self._members[key] = _members(key.options)
        return Request(_PATHS[key.task], b'{"inputs":[' + b",".join(items) + b"]" + members + b"}")

    def reply_limit(self, key: BatchKey, count: int) -> int:
        most = MAX_REPLY_BYTES_OF.get(key.task)
        results = count * MAX_REPLY_BYTES_PER_ITEM if most is None else min(count * most, MAX_REPLY_BYTES)
        return MAX_REPLY_BYTES_BESIDE + results

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:
        tokens = _tokens(reply)
        try:
            if key.task is Task.EMBED:
                return Answer(*split_vectors(reply.body, count), tokens=tokens)
            return Answer(_split_others(key.task, reply.body, count), tokens=tokens)
        except BadRowsError:
            raise
        except (NotVectorsError, NotElementsError) as problem:
            raise UpstreamProtocolError(str(problem)) from problem

    def refusal(self, reply: Reply) -> Refusal:
        return refusal(reply)

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        reply = get("/info")
        said = decoded(reply.body) if reply is not None and reply.status == 200 else None
        if reply is None or not isinstance(said, dict):
            return None
        self._learn(model_of(said))
        model, served = _name(said.get("model_id")), _name(said.get("served_model_name"))
        return UpstreamInfo(
            model,
            _positive(said.get("max_client_batch_size")),
            _positive(said.get("max_concurrent_requests")),
            self._model.revision,
            purpose=self._model.purpose,
            models=tuple(filter(None, [served or model])),
            raw=reply.body,
        )

    def _learn(self, model: TeiModel) -> None:
        """Remember what the server has said of its model, which may be another one than before."""
        if model != self._model:
            self._model = model
            self._plain = _PLAIN if model.can(_PLAIN) else None
            self._fitted.clear()

    def credentials(self, api_key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def forwards(self, path: str) -> bool:
        return path in _FORWARDED


def _without_ignored(options: Options) -> Options:
    """Return the options without members that TEI reads over, and that clients of other APIs send.

    ``parameters`` stay where they hold a truncation, which would change vectors if a release of TEI read them.
    """
    more = tuple(
        (name, value)
        for name, value in options.more
        if name not in _IGNORED and (name != "parameters" or b'"truncat' in value)
    )
    return options if len(more) == len(options.more) else options._replace(more=more, family="tei" if more else "")


def _split_others(task: Task, body: bytes, count: int) -> list[bytes]:
    """Return the results of a task that gives no vectors; raises ``NotElementsError``."""
    results = split_elements(body, count)
    begins = _RESULT_BEGINS[task].match
    odd = task is Task.EMBED_ALL and any(sign in body for sign in _OF_OTHERS)
    if odd or not all(map(begins, results)):
        raise NotElementsError(f"the upstream's answer is not what /{task} gives")
    return results


def _members(options: Options) -> bytes:
    """Return the options as JSON members to stand behind the inputs: ``b',"normalize":false'``, sorted by name."""
    given: dict[str, Any] = options._asdict()
    more, direction = given.pop("more"), given.pop("truncation_direction")
    del given["family"]
    told = {name: _to_json(value) for name, value in given.items() if value is not None}
    if direction is not None:
        told["truncation_direction"] = _to_json(_DIRECTIONS[direction])
    told.update((name, value) for name, value in more if name != "inputs")  # that of the items
    return b"".join(b"," + _to_json(name) + b":" + value for name, value in sorted(told.items()))


def _tokens(reply: Reply) -> int | None:
    """Return the tokens that the server says it counted in all inputs of the call."""
    said = reply.headers.get("x-compute-tokens", "")
    return int(said) if said.isdecimal() and said.isascii() and len(said) <= 15 else None


def _name(value: object) -> str | None:
    return plain(value) or None if isinstance(value, str) else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
