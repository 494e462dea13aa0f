"""Servers of OpenAI's route: infinity 0.0.78, vLLM 0.32.0, llama-server 11434.0.0, LiteLLM's proxy 1.108.7."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.upstream.forms.fastapi import ROUTER, UNCAUGHT, UVICORN, UVICORN_IDLE, invalid, json_reply, malformed
from tests.support.upstream.forms.form import Recorded, Reply, Trouble, compact, without_query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NO_MODEL: dict[str, Any] = {"type": None, "param": None}


def as_base64(vector: bytes) -> bytes:
    """Return a JSON array of numbers as the JSON text of base64 that OpenAI's API has: little-endian float32."""
    numbers = json.loads(vector)
    return b'"' + base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)) + b'"'


def data_of(vectors: Sequence[bytes], element: bytes) -> bytes:
    """Return the member ``data``: an element for each vector, which takes the vector and its index, or the reverse."""
    is_vector_first = element.index(b"%b") < element.index(b"%d")
    rows = [(each, at) if is_vector_first else (at, each) for at, each in enumerate(vectors)]
    return b"[" + b",".join(element % row for row in rows) + b"]"


class OpenAiForm(Recorded):
    """``{"model", "input"}`` in, ``{"data": [{"index", "embedding"}]}`` out; errors are nested."""

    path: ClassVar[str] = "/v1/embeddings"
    health_path: ClassVar[str] = "/health"
    idle: ClassVar[float | None] = UVICORN_IDLE
    headers: ClassVar[tuple[str, ...]] = UVICORN
    inputs_member: ClassVar[str] = "input"
    #: One element of ``data``, and the body around them.
    element: ClassVar[bytes]
    around: ClassVar[bytes]
    #: Whether it answers base64 where that is asked for.
    can_base64: ClassVar[bool] = True

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return self.around % data_of(vectors, self.element)

    def answer_to(self, body: bytes, vectors: Sequence[bytes]) -> bytes:
        is_wanted = self.can_base64 and self.options(body).get("encoding_format") == "base64"
        return self.answer([as_base64(each) for each in vectors] if is_wanted else vectors)

    def failure(self, text: str) -> Reply:
        return UNCAUGHT


class InfinityForm(OpenAiForm):
    """``POST …/embeddings`` without ``/v1``. Validation is pydantic's, which echoes the inputs."""

    path: ClassVar[str] = "/embeddings"
    element: ClassVar[bytes] = b'{"object":"embedding","embedding":%b,"index":%d}'
    around: ClassVar[bytes] = (
        b'{"object":"list","data":%b,"model":"minilm","usage":{"prompt_tokens":22,"total_tokens":22},'
        b'"id":"infinity-2c31fcef-e8a2-4f90-b856-ae67227e0c7f","created":1795599267}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {
        "/health": json_reply(200, {"unix": 1795599268.7656085}),
        "/v1/models": ROUTER[Trouble.UNKNOWN_PATH],
        "/models": json_reply(
            200,
            {
                "data": [
                    {
                        "id": "minilm",
                        "stats": {
                            "queue_fraction": 0.0,
                            "queue_absolute": 0,
                            "results_pending": 0,
                            "batch_size": 32,
                        },
                        "object": "model",
                        "owned_by": "infinity",
                        "created": 1795599268,
                        "backend": "torch",
                        "capabilities": ["embed"],
                    }
                ],
                "object": "list",
            },
        ),
    }
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        **ROUTER,
        Trouble.BAD_INPUT: UNCAUGHT,
        Trouble.REFUSED_INPUT: invalid(
            (
                "string_type",
                ["body", "text", "input", "list[constrained-str]", 1],
                "Input should be a valid string",
                5,
            ),
            ("string_type", ["body", "text", "input", "constrained-str"], "Input should be a valid string", ["a", 5]),
        ),
        Trouble.TOO_MANY: invalid(
            (
                "too_long",
                ["body", "text", "input", "list[constrained-str]"],
                "List should have at most 2048 items after validation, not 2049",
                ["a"] * 2049,
            )
        ),
        Trouble.MALFORMED: malformed(13, "Expecting ',' delimiter"),
        Trouble.OVERLOADED: json_reply(
            429, {"error": {"message": "model minilm is currently overloaded", **_NO_MODEL, "code": 429}}
        ),
    }

    def is_call(self, method: str, path: str) -> bool:
        return super().is_call(method, path) and not without_query(path).endswith("/v1/embeddings")

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return compact({"error": {"message": text, **_NO_MODEL, "code": 400}})


def _vllm(status: int, text: str, error_type: str = "BadRequestError", param: str | None = None) -> Reply:
    error = {"message": text, "type": error_type, "param": param, "code": status}
    return Reply(status, compact({"error": error}), (*UVICORN, "vary: Origin"))


class VllmForm(OpenAiForm):
    """Validation is 400, and nothing is truncated: a list with a text that is too long is refused whole."""

    headers: ClassVar[tuple[str, ...]] = (*UVICORN, "vary: Origin")
    element: ClassVar[bytes] = b'{"index":%d,"object":"embedding","embedding":%b}'
    around: ClassVar[bytes] = (
        b'{"id":"embd-854ee5fe413ead88","object":"list","created":1795602137,"model":"minilm","data":%b,'
        b'"usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0,"prompt_tokens_details":null,'
        b'"completion_tokens_details":null}}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {
        "/health": Reply(200, b"", (*UVICORN, "vary: Origin")),
        "/ping": Reply(200, b"", (*UVICORN, "vary: Origin")),
        "/v1/models": json_reply(
            200, {"object": "list", "data": [{"id": "minilm", "object": "model", "max_model_len": 256}]}
        ),
    }
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        **ROUTER,
        Trouble.REFUSED_INPUT: _vllm(
            400,
            "This model's maximum context length is 256 tokens. However, your prompt contains 15000 characters (more "
            "than 4608 characters, which is the upper bound for 256 input tokens). Please reduce the length of the "
            "input prompt. (parameter=input_text, value=15000)",
            param="input_text",
        ),
        Trouble.MALFORMED: _vllm(
            400,
            "1 validation error:\n  {'type': 'json_invalid', 'loc': 'body.13', 'msg': 'JSON decode error', 'input': "
            "'<dict of 0 items>', 'ctx': {'error': \"Expecting ',' delimiter\"}}",
            "Bad Request",
            "body.13",
        ),
        Trouble.UNKNOWN_MODEL: _vllm(404, "The model `no-such-model` does not exist.", "NotFoundError"),
    }

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return _vllm(400, text).body


_LLAMA = ("Server: llama.cpp", "Access-Control-Allow-Origin: ", "Content-Type: application/json; charset=utf-8")
_LLAMA_OK = (*_LLAMA, "Keep-Alive: timeout=5, max=100")


def _llama(status: int, text: str, error_type: str = "invalid_request_error") -> Reply:
    body = compact({"error": {"code": status, "message": text, "type": error_type}})
    return Reply(status, body, (*_LLAMA, "Connection: close"), closes=True)


_NO_FILE = Reply(
    404,
    b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}',
    (*_LLAMA, "Connection: close"),
    closes=True,
)


class LlamaForm(OpenAiForm):
    """llama-server: a text that is too long is 500, and fails its list. Errors end the connection, and say so."""

    headers: ClassVar[tuple[str, ...]] = _LLAMA_OK
    element: ClassVar[bytes] = b'{"embedding":%b,"index":%d,"object":"embedding"}'
    around: ClassVar[bytes] = (
        b'{"model":"minilm","object":"list","usage":{"prompt_tokens":7,"total_tokens":7},"data":%b}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {
        "/health": Reply(200, b'{"status":"ok"}', _LLAMA_OK),
        "/v1/models": Reply(200, b'{"models":[{"name":"minilm","model":"minilm"}],"object":"list"}', _LLAMA_OK),
    }
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.BAD_INPUT: _llama(
            500,
            "input (3002 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
            "server_error",
        ),
        Trouble.REFUSED_INPUT: _llama(400, '"input" must not be empty'),
        Trouble.MALFORMED: _llama(
            400,
            "[json.exception.parse_error.101] parse error at line 1, column 14: syntax error while parsing object - "
            "unexpected end of input; expected '}'",
        ),
        Trouble.UNKNOWN_PATH: _NO_FILE,
        Trouble.WRONG_METHOD: _NO_FILE,
    }

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return _llama(400, text).body

    def failure(self, text: str) -> Reply:
        return _llama(500, text, "server_error")


_NO_FALLBACK = "\n\nLiteLLM: model group 'minilm' failed with the error above. No fallback was attempted."
_LITELLM = ("vary: Origin", "x-frame-options: DENY", "x-content-type-options: nosniff")


def _litellm(status: int, text: str, param: str | None = None) -> Reply:
    error = {"message": text, "type": "invalid_request_error", "param": param, "code": str(status)}
    return Reply(status, compact({"error": error}), _LITELLM)


def _handed_on(status: int, text: str = "") -> Reply:
    """Return what it makes of an error of the server behind it, of which it quotes what it can read."""
    said = f" - {text}" if text else ""
    return _litellm(status, f"litellm.BadRequestError: OpenAIException - Error code: {status}{said}{_NO_FALLBACK}")


class LitellmForm(OpenAiForm):
    """A gateway in front of TEI. ``/health`` calls the models behind it: its probe is another."""

    health_path: ClassVar[str] = "/health/readiness"
    headers: ClassVar[tuple[str, ...]] = ("x-litellm-version: 1.108.7", "x-litellm-model-name: openai/minilm")
    element: ClassVar[bytes] = b'{"embedding":%b,"index":%d,"object":"embedding"}'
    around: ClassVar[bytes] = (
        b'{"model":"minilm","data":%b,"object":"list","usage":{"completion_tokens":0,"prompt_tokens":7,'
        b'"total_tokens":7,"completion_tokens_details":null,"prompt_tokens_details":null}}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {
        "/health/readiness": Reply(200, b'{"status":"healthy","db":"Not connected"}', _LITELLM),
        "/health/liveliness": Reply(200, b'"I\'m alive!"', _LITELLM),
        "/v1/models": Reply(
            200,
            b'{"data":[{"id":"minilm","object":"model","created":1677610602,"owned_by":"openai"}],"object":"list"}',
            _LITELLM,
        ),
    }
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.BAD_INPUT: Reply(
            500,
            b"Internal Server Error",
            ("content-type: text/plain; charset=utf-8", "connection: close"),
            closes=True,
            chunked=True,
        ),
        Trouble.REFUSED_INPUT: _handed_on(400, "Input validation error: `inputs` cannot be empty"),
        Trouble.TOO_MANY: _handed_on(422, "batch size 33 > maximum allowed batch size 32"),
        Trouble.TOO_LARGE: _litellm(
            413, f"litellm.APIError: APIError: OpenAIException - Error code: 413{_NO_FALLBACK}"
        ),
        Trouble.MALFORMED: _litellm(
            400, "Invalid JSON payload: unexpected end of data: line 1 column 14 (char 13)", "request_body"
        ),
        Trouble.UNKNOWN_MODEL: _litellm(
            400,
            "/embeddings: Invalid model name passed in model=no-such-model. Call `/v1/models` to view available models "
            "for your key.",
        ),
        Trouble.UNKNOWN_PATH: Reply(404, b'{"detail":"Not Found"}', _LITELLM),
        Trouble.WRONG_METHOD: Reply(405, b'{"detail":"Method Not Allowed"}', ("allow: POST", *_LITELLM)),
    }

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return _handed_on(422, text).body

    def failure(self, text: str) -> Reply:
        return self.troubles[Trouble.BAD_INPUT]
