"""Plain embedding servers: one path that takes a list of texts in a JSON object, and answers a vector for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from batching.errors import Unsupported
from batching.key import BatchKey, Options, Task
from batching.outcomes import Answer
from formats.bounded import Bounded
from upstream.dialects.dialect import Refusal, RefusalKind, UpstreamInfo
from upstream.dialects.foreign import without_foreign
from upstream.dialects.openapi import takers
from upstream.dialects.refusals import refusal
from upstream.dialects.texts import as_embedding, check_instances, check_options, check_texts
from upstream.dialects.vectors import ONE_TEXT, find, split_at
from upstream.dialects.words import decoded
from upstream.dialects.wrong_members import Wrong, wrong_members
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batching.call import Item
    from upstream.dialects.vectors import Place
    from upstream.http_reply import Reply

PATH, INPUT_FIELD = "/embed", "inputs"
#: Bytes that one item's vector may take in a reply: 16,384 numbers of 32 characters.
MAX_REPLY_BYTES_PER_ITEM = 16_384 * 32
#: Bytes of a reply beside its vectors.
MAX_REPLY_BYTES_BESIDE = 65_536
#: Keys of which is kept what they are for this server, and how their members stand in a body.
MAX_REMEMBERED_KEYS = 256
#: The API whose unknown members are passed on: its clients write the body of the server itself.
_FAMILY = "tei"
_PLAIN = BatchKey(Task.EMBED)
#: Options that a server may have a member for, of the same name and meaning as TEI's.
_NAMED = ("dimensions", "normalize", "prompt_name", "truncate")

_to_json = msgspec.json.Encoder(order="deterministic").encode


class PlainDialect:
    """The bodies and replies of one path. Where the vectors stand in an answer is seen in the first, and kept."""

    name = "plain"
    health_paths: Sequence[str] = ("/health", "/healthz", "/ping")

    def __init__(
        self, path: str = PATH, input_field: str = INPUT_FIELD, output_field: str = "", extra: str = ""
    ) -> None:
        """``output_field``: names with dots between them; empty: found out. ``extra``: a JSON object, or empty."""
        self._path = path or PATH
        self._field = input_field or INPUT_FIELD
        self._place: Place | None = tuple(output_field.split(".")) if output_field else None
        self._extra: dict[str, Any] = msgspec.json.decode(extra) if extra else {}
        self._begin = b"{%b:[" % _to_json(self._field)
        self._end = b"]%b}" % _members(self._extra)
        #: Members that the server documents.
        self._known: frozenset[str] = frozenset()
        self._fitted: Bounded[BatchKey, BatchKey] = Bounded(MAX_REMEMBERED_KEYS)
        self._ends: Bounded[BatchKey, bytes] = Bounded(MAX_REMEMBERED_KEYS)

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        """Return the key without the model, of which such a server has one, and without what changes nothing.

        Raises ``Unsupported`` for token ids, and for what the server would read over although it changes the result:
        options for which it documents no member.
        """
        fitted = key if key == _PLAIN else self._fitted.get(key)
        if fitted is None:
            fitted = self._fitted[key] = self._fit(key)
        if key.task is Task.PREDICT:
            check_instances(items)
        check_texts(items, "plain")
        return fitted

    def _fit(self, key: BatchKey) -> BatchKey:
        task, options, _ = as_embedding(key, "a plain")
        if task is not Task.EMBED:
            raise Unsupported(f"a plain upstream cannot do {task}: Text Embeddings Inference can")
        options, known = self._apart(without_foreign(options, _FAMILY))
        check_options(options, "plain")
        for name, value in (*options.more, *known):
            is_fixed = name in self._extra and _to_json(self._extra[name]) != value
            if name == self._field or is_fixed:
                raise Unsupported(f"{name}: the settings of this service say what it is", field=name)
        more = tuple(sorted({**dict(options.more), **dict(known)}.items()))
        return BatchKey(Task.EMBED, Options(more=more, family=_FAMILY if more else ""))

    def _apart(self, options: Options) -> tuple[Options, list[tuple[str, bytes]]]:
        """Return the options without those that the server documents as members, and these as members."""
        named = {name: getattr(options, name) for name in _NAMED if name in self._known}
        given = {name: _to_json(value) for name, value in named.items() if value is not None}
        rest = {name: value for name, value in options._asdict().items() if name not in given}
        return Options(**rest), list(given.items())

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        return Request(self._path, self._begin + b",".join(items) + self._end_of(key))

    def _end_of(self, key: BatchKey) -> bytes:
        if not key.options.more:
            return self._end
        end = self._ends.get(key)
        if end is None:
            more = {name: value for name, value in key.options.more if name not in self._extra}
            told = b"".join(b",%b:%b" % (_to_json(name), value) for name, value in more.items())
            end = self._ends[key] = b"]%b%b}" % (_members(self._extra), told)
        return end

    def reply_limit(self, key: BatchKey, count: int) -> int:  # noqa: ARG002 - all that it does is vectors
        return MAX_REPLY_BYTES_BESIDE + count * MAX_REPLY_BYTES_PER_ITEM

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:  # noqa: ARG002
        """Take a 200 apart; raises ``UpstreamMisconfigured`` if the server takes one text a call."""
        place = find(reply.body) if self._place is None else self._place
        vectors, dimension = split_at(reply.body, place, count)
        self._place = place
        return Answer(vectors, dimension)

    def refusal(self, reply: Reply) -> Refusal:
        """Read any other status. A member that is missing, and a text wanted for a list, no input has caused."""
        read = refusal(reply)
        if read.kind is RefusalKind.INPUTS and (problem := self._mistake(decoded(reply.body))):
            return Refusal(RefusalKind.MISCONFIGURED, problem)
        return read

    def _mistake(self, said: object) -> str:
        """Return what of the settings is wrong, if FastAPI's words say so; else nothing."""
        for name, wrong in wrong_members(said):
            if wrong is Wrong.MISSING_IN_URL:
                return f"POST {self._path} wants {name!r} in its URL: {ONE_TEXT}"
            if wrong is Wrong.MISSING:
                ours = f"is sent {self._field!r}: set upstream_input_field or upstream_extra"
                return f"POST {self._path} wants {name!r} and {ours}"
            if name == self._field:
                return f"POST {self._path}: {ONE_TEXT}"
        return ""

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        """Ask how many texts a call may have, and which options there are, if the server documents itself."""
        reply = get("/openapi.json")
        documented = takers(decoded(reply.body)) if reply is not None and reply.status == 200 else []
        mine = next((each for each in documented if (each.path, each.field) == (self._path, self._field)), None)
        known = frozenset() if mine is None else mine.known
        if known != self._known:
            self._known = known
            self._fitted.clear()
        return UpstreamInfo(None, mine.most_items, None) if mine is not None and mine.most_items else None

    def credentials(self, api_key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def forwards(self, path: str) -> bool:  # noqa: ARG002 - it has no route but one
        return False


def _members(members: dict[str, Any]) -> bytes:
    return b"".join(b",%b:%b" % (_to_json(name), _to_json(value)) for name, value in members.items())
