"""TEI's ``POST /predict``: a text, a pair of texts or a list of these in, labels with scores out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from marshmallow import ValidationError

from api.apis.fields import WITHOUT_EFFECT, Inputs, Loader, StrictBoolean, TruncationSchema, tei_key
from api.apis.query import Body, Bounds, Query
from api.apis.tei import REQUIRED, list_of_results, load
from batching.key import Task

if TYPE_CHECKING:
    from batching.call import Call, Item

#: What TEI's classifiers read over: options of its other routes.
IGNORED = WITHOUT_EFFECT | {"normalize", "dimensions", "prompt_name"}

_to_json = msgspec.json.encode


class Sequences(Inputs):
    """A text, a pair of texts, or a list of lists of one or two texts; loads as (items, whether it was a list).

    A list of one text is that text, as it is for TEI.
    """

    default_error_messages = {
        "type": "must be a text, a pair of texts, or a list of lists of one or two texts",
        "item": "must be a list of one or two texts",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[list[Item], bool]:  # noqa: ARG002
        if isinstance(value, str):
            return [self._sequence([value])], False
        if not isinstance(value, list) or not value:
            raise self.make_error("type")
        if isinstance(value[0], str):
            if not _is_sequence(value):
                raise self.make_error("type")
            return [self._sequence(value)], False
        return self._many(value), True

    def count(self, value: Any) -> int:
        return len(value) if isinstance(value, list) and value and not isinstance(value[0], str) else 1

    def _many(self, values: list[Any]) -> list[Item]:
        items = []
        try:
            for value in values:
                if not _is_sequence(value):
                    raise self.make_error("item")
                items.append(self._sequence(value))
        except ValidationError as problem:
            raise ValidationError({len(items): problem.messages}) from problem
        return items

    def _sequence(self, texts: list[str]) -> Item:
        if not any(texts):
            raise self.make_error("empty")
        try:
            return _to_json(texts)
        except UnicodeEncodeError:
            raise self.make_error("surrogate") from None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list) and len(value) in {1, 2} and all(isinstance(text, str) for text in value)


class PredictSchema(TruncationSchema):
    """The body of ``POST /predict``."""

    inputs = Sequences(required=True, error_messages=REQUIRED)
    raw_scores = StrictBoolean()


_loader = Loader(PredictSchema())
_options = frozenset(PredictSchema().fields)


def read_predict(body: Body, bounds: Bounds) -> Query:
    """Read the body of ``/predict``; raises ``RequestError``."""
    members = load(_loader, body, bounds.items)
    items, is_list = members.pop("inputs")
    key = tei_key(Task.CLASSIFY, members, _options, IGNORED)
    return Query(key, items, list_of_results if is_list else _labels)


def _labels(call: Call) -> bytes:
    return call.results[0]
