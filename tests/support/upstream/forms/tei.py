"""Text Embeddings Inference 1.9.3: its own route, and OpenAI's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.upstream.forms.form import Recorded, Reply, Trouble, compact, vector_for
from tests.support.upstream.forms.openai import data_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TEXT = ("Content-Type: text/plain; charset=utf-8",)
_EMPTY = Reply(404, b"")
_EOF = b"Failed to parse the request body as JSON: EOF while parsing an object at line 1 column 14"
TOO_MANY = "batch size 33 > maximum allowed batch size 32"
CANNOT_BE_EMPTY = "Input validation error: `inputs` cannot be empty"

#: What both routes say alike: the parser, the router and the key are in front of them.
_ALIKE = {
    Trouble.TOO_LARGE: Reply(413, b"Failed to buffer the request body: length limit exceeded", _TEXT),
    Trouble.MALFORMED: Reply(400, _EOF, _TEXT),
    Trouble.WRONG_KEY: Reply(401, b""),
    Trouble.UNKNOWN_PATH: _EMPTY,
    Trouble.WRONG_METHOD: Reply(405, b"", ("allow: POST",)),
}


@dataclass(frozen=True)
class TeiForm(Recorded):
    """``POST …/embed``, ``GET …/info``, ``GET …/health``; any path may stand in front."""

    #: What ``/info`` says.
    info: Mapping[str, Any] = field(default_factory=lambda: {"model_id": "scripted"})
    make_vector: Callable[[Any], bytes] = vector_for

    path: ClassVar[str] = "/embed"
    health_path: ClassVar[str] = "/health"

    def vector(self, each: Any) -> bytes:
        return self.make_vector(each)

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(vectors) + b"]"

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return compact({"error": text, "error_type": error_type})

    def failure(self, text: str) -> Reply:
        return Reply(424, self.refusal(f"Backend error: {text}", "Backend"))

    def trouble(self, kind: Trouble) -> Reply | None:
        match kind:
            case Trouble.BAD_INPUT:
                return self.failure("Model is not a classifier model")
            case Trouble.REFUSED_INPUT:
                return Reply(400, self.refusal(CANNOT_BE_EMPTY, "Empty"))
            case Trouble.TOO_MANY:
                return Reply(422, self.refusal(TOO_MANY))
            case Trouble.OVERLOADED:
                return Reply(429, self.refusal("Model is overloaded", "Overloaded"))
        return _ALIKE.get(kind)

    def page(self, path: str) -> Reply:
        last = path.partition("?")[0].rpartition("/")[2]
        if last == "info":
            return Reply(200, compact(self.info))
        return Reply(200, b"") if last in {"health", "ping", ""} else _EMPTY


@dataclass(frozen=True)
class TeiOpenAiForm(TeiForm):
    """``POST …/v1/embeddings`` of the same server, whose errors are flat."""

    path: ClassVar[str] = "/v1/embeddings"
    inputs_member: ClassVar[str] = "input"
    codes: ClassVar[Mapping[str, int]] = {"Empty": 400, "Backend": 424, "Overloaded": 429}

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        data = data_of(vectors, b'{"object":"embedding","embedding":%b,"index":%d}')
        usage = b'"usage":{"prompt_tokens":7,"total_tokens":7}'
        return b'{"object":"list","data":%b,"model":"minilm",%b}' % (data, usage)

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return compact({"message": text, "code": self.codes.get(error_type, 422), "type": error_type})
