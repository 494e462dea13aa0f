"""What each kind of server answers: how the inputs of a call are read, and the bodies of replies. No sockets here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tests.support.fakes import vector_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Reply:
    """A status and a body; the server frames them."""

    status: int
    body: bytes


class Form(Protocol):
    """One kind of server. All methods are pure: they take paths, bodies and vectors, and return bodies."""

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

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        """Return the body of an error in the server's own words."""

    def page(self, path: str) -> Reply:
        """Return what a request that is no call is answered: health, what the server says of itself, or 404."""


def proper_reply(form: Form, method: str, path: str, body: bytes) -> Reply:
    """Return what a server of this form answers when nothing is wrong."""
    if not form.is_call(method, path):
        return form.page(path)
    return Reply(200, form.answer([form.vector(each) for each in form.inputs(body)]))


def vector_for(each: Any) -> bytes:
    """Return the JSON of the vector that an input gets by default: eight numbers, hashed from the input's JSON."""
    return vector_of(json.dumps(each).encode())


@dataclass(frozen=True)
class TeiForm:
    """Text Embeddings Inference: ``POST …/embed``, ``GET …/info``, ``GET …/health``; any path may stand in front."""

    #: What ``/info`` says.
    info: Mapping[str, Any] = field(default_factory=lambda: {"model_id": "scripted"})
    make_vector: Callable[[Any], bytes] = vector_for

    def is_call(self, method: str, path: str) -> bool:
        return method == "POST" and _last(path) == "embed"

    def inputs(self, body: bytes) -> list[Any]:
        inputs = _members(body).get("inputs", [])
        return inputs if isinstance(inputs, list) else [inputs]

    def options(self, body: bytes) -> dict[str, Any]:
        return {name: value for name, value in _members(body).items() if name != "inputs"}

    def vector(self, each: Any) -> bytes:
        return self.make_vector(each)

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(vectors) + b"]"

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return json.dumps({"error": text, "error_type": error_type}).encode()

    def page(self, path: str) -> Reply:
        if _last(path) == "info":
            return Reply(200, json.dumps(self.info).encode())
        return Reply(200 if _last(path) == "health" else 404, b"")


def _last(path: str) -> str:
    """Return the last segment of a path, without its query."""
    return path.partition("?")[0].rpartition("/")[2]


def _members(body: bytes) -> dict[str, Any]:
    """Return the members of a body; a body that was not read has none."""
    members: dict[str, Any] = json.loads(body) if body else {}
    return members
