"""TEI's ``POST /rerank``: a query and texts in, their scores out, the highest first.

Each text becomes a pair with the query, so that the pairs of several requests share batches and a bad one is searched.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from marshmallow import ValidationError, fields

from api.apis.fields import Inputs, Loader, StrictBoolean, TruncationSchema, tei_key
from api.apis.query import Body, Bounds, Query
from api.apis.tei import REQUIRED, load
from api.apis.tei_predict import IGNORED
from api.apis.wrong_fields import HALF_A_PAIR
from api.error_forms import RequestError
from batching.errors import UpstreamProtocolError
from batching.key import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Call, Item

#: Bytes of all pairs of one request: the query stands in each of them.
MAX_PAIR_BYTES = 32 * 2**20

_to_json = msgspec.json.encode


class Texts(Inputs):
    """A list of texts, any of which may be empty; loads as (items, True)."""

    default_error_messages = {"type": "must be a list of texts", "item": "must be a text"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[list[Item], bool]:  # noqa: ARG002
        if not isinstance(value, list):
            raise self.make_error("type")
        items = []
        try:
            for text in value:
                if not isinstance(text, str):
                    raise self.make_error("item")
                items.append(self._any_text(text))
        except ValidationError as problem:
            raise ValidationError({len(items): problem.messages}) from problem
        return items, True

    def count(self, value: Any) -> int:
        return len(value) if isinstance(value, list) else 1

    def _any_text(self, text: str) -> Item:
        try:
            return _to_json(text)
        except UnicodeEncodeError:
            raise self.make_error("surrogate") from None


class JsonText(fields.Field[bytes]):
    """A text; loads as its JSON."""

    default_error_messages = {"null": "must not be null", "type": "must be a text", "surrogate": HALF_A_PAIR}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Item:  # noqa: ARG002
        if not isinstance(value, str):
            raise self.make_error("type")
        try:
            return _to_json(value)
        except UnicodeEncodeError:
            raise self.make_error("surrogate") from None


class RerankSchema(TruncationSchema):
    """The body of ``POST /rerank``."""

    query = JsonText(required=True, error_messages=REQUIRED)
    texts = Texts(required=True, error_messages=REQUIRED)
    raw_scores = StrictBoolean()
    return_text = StrictBoolean()


class _Label(msgspec.Struct):
    score: msgspec.Raw


_loader = Loader(RerankSchema())
_options = frozenset(RerankSchema().fields) - {"return_text"}
#: TEI reads over ``inputs`` here; in the upstream call the pairs stand under that name.
_ignored = IGNORED | {"inputs"}
_labels = msgspec.json.Decoder(list[_Label])


def read_rerank(body: Body, bounds: Bounds) -> Query:
    """Read the body of ``/rerank``; raises ``RequestError``."""
    members = load(_loader, body, bounds.items)
    question, (texts, _) = members.pop("query"), members.pop("texts")
    wants_texts = members.pop("return_text", False)
    if not texts:
        raise RequestError(400, "`texts` cannot be empty", error_type="Empty")
    if question == b'""' and b'""' in texts:
        raise RequestError(400, "Input validation error: `inputs` cannot be empty", error_type="Empty")
    if (size := len(question) * len(texts)) > MAX_PAIR_BYTES:
        message = f"query: with {len(texts)} texts it takes {size} bytes, more than {MAX_PAIR_BYTES}"
        raise RequestError(413, message)
    items = [b"[" + question + b"," + text + b"]" for text in texts]
    return Query(tei_key(Task.CLASSIFY, members, _options, _ignored), items, partial(_ranks, texts * wants_texts))


def _ranks(texts: Sequence[Item], call: Call) -> bytes:
    """Return the ranks in TEI's order: by score, and of equal scores the last first. ``texts``: empty for no texts."""
    scores = [_score(result) for result in call.results]
    numbers = [float(score) for score in scores]
    order = sorted(range(len(scores)), key=numbers.__getitem__)
    return b"[" + b",".join(_rank(at, scores[at], texts) for at in reversed(order)) + b"]"


def _rank(at: int, score: bytes, texts: Sequence[Item]) -> bytes:
    text = b',"text":' + texts[at] if texts else b""
    return b'{"index":%d%b,"score":%b}' % (at, text, score)


def _score(result: bytes) -> bytes:
    """Return the score of a pair as the upstream wrote it."""
    try:
        labels = _labels.decode(result)
        score = bytes(labels[0].score) if len(labels) == 1 else b""
        float(score or 0)
    except (msgspec.DecodeError, ValueError) as problem:
        raise UpstreamProtocolError("the upstream's answer has no score for a pair of texts") from problem
    if not score:
        raise RequestError(424, "Backend error: model is not a re-ranker model", error_type="Backend")
    return score
