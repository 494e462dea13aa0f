"""What a form is: how one kind of server is asked, and what it answers. No sockets here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tests.support.fakes import vector_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Reply:
    """What a server answers; the scripted upstream frames it.

    ``headers`` beside those of framing, each ``Name: value``. ``closes``: whether the server ends the connection
    afterwards; it announces that only if a header does. ``chunked`` instead of a length.
    """

    status: int
    body: bytes
    headers: tuple[str, ...] = ()
    closes: bool = False
    chunked: bool = False


class Trouble(Enum):
    """What may be wrong with a request or a server, as far as servers say it in their own way."""

    #: The model throws on one of the inputs.
    BAD_INPUT = "bad input"
    #: One of the inputs is refused before the model sees it: it is empty, too long, no text.
    REFUSED_INPUT = "refused input"
    TOO_MANY = "too many inputs"
    TOO_LARGE = "too large a body"
    MALFORMED = "malformed"
    OVERLOADED = "overloaded"
    NOT_READY = "not ready"
    WRONG_KEY = "wrong key"
    UNKNOWN_MODEL = "unknown model"
    UNKNOWN_PATH = "unknown path"
    WRONG_METHOD = "wrong method"


class Form(Protocol):
    """One kind of server. All methods are pure: they take paths, bodies and vectors, and return bodies."""

    #: Where calls go, and what is asked whether the server works.
    path: ClassVar[str]
    health_path: ClassVar[str]
    #: Seconds after which the server closes an idle connection; None: it was not seen to.
    idle: ClassVar[float | None]
    #: Of an answer with vectors.
    headers: ClassVar[tuple[str, ...]]

    def is_call(self, method: str, path: str) -> bool:
        """Return whether a request to this path asks for vectors."""

    def inputs(self, body: bytes) -> list[Any]:
        """Return the inputs of a call, in order; a single one as a list of one."""

    def options(self, body: bytes) -> dict[str, Any]:
        """Return what a call says beside its inputs."""

    def vector(self, each: Any) -> bytes:
        """Return the JSON of the vector that this input gets, and no other."""

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        """Return the body that carries these vectors, each the JSON of an array."""

    def answer_to(self, body: bytes, vectors: Sequence[bytes]) -> bytes:
        """Return the body that carries these vectors as a call with this body asks for them."""

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        """Return the body of an error in the server's own words."""

    def failure(self, text: str) -> Reply:
        """Return what is answered where the model throws an error of this text; not every server repeats it."""

    def trouble(self, kind: Trouble) -> Reply | None:
        """Return what is answered then, as it was recorded; None if the server was not seen in such trouble."""

    def page(self, path: str) -> Reply:
        """Return what a request that is no call is answered: health, what the server says of itself, or 404."""


class Recorded:
    """What the forms have in common. Any path may stand in front of theirs."""

    path: ClassVar[str]
    health_path: ClassVar[str]
    idle: ClassVar[float | None] = None
    headers: ClassVar[tuple[str, ...]] = ()
    #: The member that holds the inputs.
    inputs_member: ClassVar[str] = "inputs"
    #: By path: health, and what the server says of itself.
    pages: ClassVar[Mapping[str, Reply]] = {}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {}

    def is_call(self, method: str, path: str) -> bool:
        return method == "POST" and without_query(path).endswith(self.path)

    def inputs(self, body: bytes) -> list[Any]:
        inputs = members(body).get(self.inputs_member, [])
        return inputs if isinstance(inputs, list) else [inputs]

    def options(self, body: bytes) -> dict[str, Any]:
        return {name: value for name, value in members(body).items() if name != self.inputs_member}

    def vector(self, each: Any) -> bytes:
        return vector_for(each)

    def answer_to(self: Form, body: bytes, vectors: Sequence[bytes]) -> bytes:
        return self.answer(vectors)

    def trouble(self, kind: Trouble) -> Reply | None:
        return self.troubles.get(kind)

    def page(self, path: str) -> Reply:
        path = without_query(path)
        for each, reply in self.pages.items():
            if path.endswith(each):
                return reply
        return self.troubles[Trouble.UNKNOWN_PATH]


def proper_reply(form: Form, method: str, path: str, body: bytes) -> Reply:
    """Return what a server of this form answers when nothing is wrong."""
    if form.is_call(method, path):
        return Reply(200, form.answer_to(body, [form.vector(each) for each in form.inputs(body)]), form.headers)
    wrong_method = form.trouble(Trouble.WRONG_METHOD) if form.is_call("POST", path) else None
    return wrong_method or form.page(path)


def vector_for(each: Any) -> bytes:
    """Return the JSON of the vector that an input gets by default: eight numbers, hashed from the input's JSON."""
    return vector_of(json.dumps(each).encode())


def without_query(path: str) -> str:
    return path.partition("?")[0]


def members(body: bytes) -> dict[str, Any]:
    """Return the members of a body; a body that was not read has none."""
    given: dict[str, Any] = json.loads(body) if body else {}
    return given


def compact(value: Any) -> bytes:
    """Return the JSON as servers write it: no spaces, and UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
