"""The marshmallow fields that several APIs share, and how a body is checked against a schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

from api.apis.wrong_fields import EMPTY, HALF_A_PAIR, WrongFieldsError
from api.error_forms import RequestError, quoted
from batching.key import BatchKey, Options, Task

if TYPE_CHECKING:
    from collections.abc import Container

    from batching.call import Item

#: Token ids are 32-bit in every tokenizer that upstreams use, and in TEI's contract.
MAX_TOKEN_ID = 2**32 - 1
#: Bytes of all options together: they are kept with each batch key, and stand in each upstream call.
MAX_OPTION_BYTES = 4096

#: Characters of a model's name, which is a part of the batch key.
_MOST_MODEL = 1000

_NULL = "must not be null"
_to_json = msgspec.json.Encoder(order="deterministic").encode


class Inputs(fields.Field[Any]):
    """A text, a list of token ids, or a list of either; loads as (items, whether it was a list of inputs)."""

    #: Whether a list of numbers is one input.
    takes_ids = True
    default_error_messages = {
        "null": _NULL,
        "type": "must be a text, a list of texts, or a list of token ids",
        "item": "must be a text or a list of token ids",
        "empty": EMPTY,
        "token": f"must hold token ids from 0 to {MAX_TOKEN_ID} only",
        "surrogate": HALF_A_PAIR,
    }

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[list[Item], bool]:  # noqa: ARG002
        if isinstance(value, str):
            return [self._text(value)], False
        if not isinstance(value, list):
            raise self.make_error("type")
        if not value:
            raise self._without_any(attr)
        if self.takes_ids and type(value[0]) is int:
            return [self._tokens(value)], False
        return self._many(value), True

    def _validate(self, value: Any) -> None:
        """Do nothing: there are no validators, and marshmallow makes an object to run them each time."""

    def count(self, value: Any) -> int:
        """Return how many items a value of the right type holds; 1 for any other."""
        return len(value) if isinstance(value, list) and value and type(value[0]) is not int else 1

    def _without_any(self, attr: str | None) -> Exception:
        """Return what is raised for an empty list."""
        return RequestError(400, f"`{attr}` must not be empty", error_type="Empty")

    def _many(self, values: list[Any]) -> list[Item]:
        """Return the items; the error names the first that is wrong, so that it stays short."""
        items = []
        try:
            for value in values:
                if isinstance(value, str):
                    items.append(self._text(value))
                elif isinstance(value, list):
                    items.append(self._tokens(value))
                else:
                    raise self.make_error("item")
        except ValidationError as problem:
            raise ValidationError({len(items): problem.messages}) from problem
        return items

    def _text(self, text: str) -> Item:
        if not text:
            raise self.make_error("empty")
        try:
            return _to_json(text)
        except UnicodeEncodeError:
            raise self.make_error("surrogate") from None

    def _tokens(self, ids: list[Any]) -> Item:
        if not ids:
            raise self.make_error("empty")
        if set(map(type, ids)) != {int} or min(ids) < 0 or max(ids) > MAX_TOKEN_ID:
            raise self.make_error("token")
        return _to_json(ids)


class StrictBoolean(fields.Field[bool]):
    """true or false; not "true", 1 or "on"."""

    default_error_messages = {"null": _NULL, "type": "must be true or false"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            raise self.make_error("type")
        return value


class StrictInteger(fields.Field[int]):
    """A JSON integer; not 3.0, "3" or true."""

    default_error_messages = {"null": _NULL, "type": "must be an integer"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:  # noqa: ARG002
        if type(value) is not int:
            raise self.make_error("type")
        return value


class Text(fields.String):
    """A JSON string."""

    default_error_messages = {"null": _NULL, "invalid": "must be a text"}


class ModelName(Text):
    """The name of a model, with a limit and without half of a surrogate pair. An empty one names no model."""

    default_error_messages = {"long": "must have 1000 characters at most", "surrogate": HALF_A_PAIR}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        name: str = super()._deserialize(value, attr, data, **kwargs)
        if len(name) > _MOST_MODEL:
            raise self.make_error("long")
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                raise self.make_error("surrogate") from None
        return name


class TruncationSchema(Schema):
    """How a text that is too long is cut, under TEI's names.

    Unknown members are kept: they may mean something to the upstream, so they join the batch key.
    """

    class Meta:
        unknown = INCLUDE

    truncate = StrictBoolean(allow_none=True)
    truncation_direction = Text(
        validate=validate.OneOf(["Left", "Right", "left", "right"], error="must be Left or Right")
    )


class EmbedOptionsSchema(TruncationSchema):
    """The options of an embedding beside its inputs, under TEI's names."""

    normalize = StrictBoolean()
    prompt_name = Text(allow_none=True)
    dimensions = StrictInteger(
        allow_none=True, validate=validate.Range(min=1, max=1_000_000, error="must be between 1 and 1000000")
    )


_OPTIONS = frozenset(EmbedOptionsSchema().fields)
#: Members that change no embedding, so they are neither part of the key nor passed on. OpenAI's ``user`` names the end
#: user for the provider's monitoring of abuse; its SDKs send it, TEI and vLLM read over it, and as a part of the key it
#: would put the requests of each user into a lane of their own.
WITHOUT_EFFECT = frozenset({"user"})
#: What holds where an option is not given, for those of which that is the same everywhere.
_DEFAULTS = {"normalize": True, "truncation_direction": "right", "raw_scores": False}
#: Objects of options of the Hugging Face API, which its clients send empty; TEI reads over them.
_EMPTIED = frozenset({"parameters", "options"})
#: The key of a body without options.
PLAIN = BatchKey(Task.EMBED)


class Loader:
    """Checks bodies against one schema. A body that holds its inputs and nothing else skips the other fields."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._inputs = {name: field for name, field in schema.fields.items() if isinstance(field, Inputs)}
        required = {name for name, field in schema.fields.items() if field.required}
        self._alone = {name: field for name, field in self._inputs.items() if required <= {name}}

    def load(self, body: dict[str, Any], most: int) -> dict[str, Any]:
        """Return the checked members, with ``most`` items at most.

        Raises ``WrongFieldsError``, which names each wrong field, or ``RequestError``. Inputs and options are counted
        before they are looked at.
        """
        try:
            if len(body) == 1:
                name, value = next(iter(body.items()))
                if (field := self._alone.get(name)) is not None:
                    if isinstance(value, list):
                        check_count(field.count(value), most)
                    return {name: _load_one(field, name, value, body)}
            for name, field in self._inputs.items():
                check_count(field.count(body.get(name)), most)
            if len(body) > MAX_OPTION_BYTES // 4:  # none takes less than `"":0,`
                raise _too_long(next(reversed(body)))
            members: dict[str, Any] = self._schema.load(body)
        except ValidationError as problem:
            raise WrongFieldsError.of(problem.messages) from problem
        return members


def check_count(count: int, most: int) -> None:
    """Raise TEI's refusal of more than ``most`` items."""
    if count > most:
        message = f"batch size {count} > maximum allowed batch size {most}"
        raise RequestError(422, message)


def embed_key(options: dict[str, Any], ignored: Container[str] = WITHOUT_EFFECT) -> BatchKey:
    """Return the batch key of these checked options; options that say what holds anyway change nothing.

    ``ignored``: names of members that the upstream is known to read over, if they are none of TEI's options.
    """
    return tei_key(Task.EMBED, options, _OPTIONS, ignored)


def tei_key(task: Task, options: dict[str, Any], known: Container[str], ignored: Container[str]) -> BatchKey:
    """Return the batch key of a task. ``known``: the names among ``options`` that were checked as fields of `Options`.

    Members that are neither known nor ignored join the key as TEI's own.
    """
    if "truncation_direction" in options:
        options["truncation_direction"] = options["truncation_direction"].lower()
    given: dict[str, Any] = {}
    more, size = [], -1
    for name, value in options.items():
        if _is_default(name, value, known):
            continue
        encoded = _option(name, value)
        size += len(_option(name, name)) + len(encoded) + 2
        if size > MAX_OPTION_BYTES:
            raise _too_long(name)
        if name in known:
            given[name] = value
        elif name not in ignored:
            more.append((name, encoded))
    if not (given or more):
        return PLAIN if task is Task.EMBED else BatchKey(task)
    return BatchKey(task, Options(**given, more=tuple(sorted(more)), family="tei" if more else ""))


def further(members: dict[str, Any]) -> tuple[tuple[str, bytes], ...]:
    """Return members that an API does not know as ``Options.more`` holds them; raises ``RequestError``.

    They are an error where they take more than ``MAX_OPTION_BYTES`` together.
    """
    more, size = [], -1
    for name, value in members.items():
        encoded = _option(name, value)
        size += len(_option(name, name)) + len(encoded) + 2
        if size > MAX_OPTION_BYTES:
            raise _too_long(name)
        more.append((name, encoded))
    return tuple(sorted(more))


def _option(name: str, value: Any) -> bytes:
    try:
        return _to_json(value)
    except UnicodeEncodeError as problem:
        raise WrongFieldsError([(_named(name), HALF_A_PAIR)]) from problem
    except RecursionError as problem:
        raise RequestError(400, f"{_named(name)}: the JSON is nested too deeply") from problem


def _named(name: str) -> str:
    return name if name in _OPTIONS else quoted(name)


def _too_long(name: str) -> WrongFieldsError:
    said = f"with it, the options beside the inputs take more than {MAX_OPTION_BYTES} bytes"
    return WrongFieldsError([(_named(name), said)])


def _is_default(name: str, value: Any, known: Container[str]) -> bool:
    if name in known:
        return value is None or (name in _DEFAULTS and value == _DEFAULTS[name])
    return name in _EMPTIED and (value is None or value == {})


def _load_one(field: fields.Field[Any], name: str, value: Any, body: dict[str, Any]) -> Any:
    try:
        return field.deserialize(value, name, body)
    except ValidationError as problem:
        raise ValidationError({name: problem.messages}) from problem
