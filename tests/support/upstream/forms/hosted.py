"""Hosted servers of OpenAI's route, and Ollama's: as their documentation and their users' threads have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tests.support.upstream.forms.form import Reply, Trouble, compact, members
from tests.support.upstream.forms.openai import OpenAiForm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JSON = ("Content-Type: application/json",)


def nested(status: int, text: str, *, kind: str = "invalid_request_error", code: str | None = None) -> Reply:
    """Return an error in OpenAI's own form."""
    return Reply(status, compact({"error": {"message": text, "type": kind, "param": None, "code": code}}), JSON)


def models(*names: str) -> Reply:
    listed = [{"id": name, "object": "model", "created": 1677610602, "owned_by": "system"} for name in names]
    return Reply(200, compact({"object": "list", "data": listed}), JSON)


class HostedForm(OpenAiForm):
    """OpenAI itself."""

    health_path: ClassVar[str] = "/v1/models"
    idle: ClassVar[float | None] = None
    headers: ClassVar[tuple[str, ...]] = JSON
    element: ClassVar[bytes] = b'{"object":"embedding","index":%d,"embedding":%b}'
    around: ClassVar[bytes] = (
        b'{"object":"list","data":%b,"model":"text-embedding-3-small","usage":{"prompt_tokens":7,"total_tokens":7}}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {"/models": models("gpt-4o", "text-embedding-3-small", "whisper-1")}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.UNKNOWN_PATH: nested(404, "Invalid URL (POST /embeddings)"),
        Trouble.WRONG_METHOD: nested(405, "Not allowed to GET on /v1/embeddings."),
        Trouble.UNKNOWN_MODEL: nested(
            404, "The model `no-such-model` does not exist or you do not have access to it.", code="model_not_found"
        ),
        Trouble.REFUSED_INPUT: nested(
            400, "This model's maximum context length is 8192 tokens, however you requested 8340 tokens."
        ),
    }

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return nested(400, text).body

    def failure(self, text: str) -> Reply:
        return nested(500, "The server had an error while processing your request.", kind="server_error")


class AzureForm(HostedForm):
    """A deployment of Azure's: the address decides on the model, and nothing beside it is known."""

    path: ClassVar[str] = "/openai/deployments/small/embeddings"
    pages: ClassVar[Mapping[str, Reply]] = {}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.UNKNOWN_PATH: Reply(404, compact({"error": {"code": "404", "message": "Resource not found"}}), JSON)
    }


class OllamaForm(HostedForm):
    """Ollama's ``/v1``: numbers, whatever is asked for."""

    can_base64: ClassVar[bool] = False
    element: ClassVar[bytes] = b'{"object":"embedding","embedding":%b,"index":%d}'
    around: ClassVar[bytes] = (
        b'{"object":"list","data":%b,"model":"all-minilm","usage":{"prompt_tokens":7,"total_tokens":7}}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {"/v1/models": models("all-minilm:latest")}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.UNKNOWN_PATH: Reply(404, b"404 page not found", ("Content-Type: text/plain",)),
        Trouble.UNKNOWN_MODEL: nested(404, 'model "no-such-model" not found, try pulling it first', kind="api_error"),
    }


class LmStudioForm(OllamaForm):
    """LM Studio: an unknown path is answered with 200 and an error."""

    pages: ClassVar[Mapping[str, Reply]] = {"/v1/models": models("text-embedding-nomic-embed-text-v1.5", "qwen3")}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.UNKNOWN_PATH: Reply(200, b'{"error":"Unexpected endpoint or method. (POST /embeddings)"}', JSON)
    }


class MistralForm(HostedForm):
    """Mistral: errors are flat."""

    around: ClassVar[bytes] = (
        b'{"id":"393b","object":"list","data":%b,"model":"mistral-embed",'
        b'"usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0}}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {"/v1/models": models("mistral-embed", "mistral-small")}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        **HostedForm.troubles,
        Trouble.TOO_MANY: Reply(
            400,
            compact(
                {
                    "object": "error",
                    "message": "Too many inputs in request. Max is 512.",
                    "type": "invalid_request_prompt",
                    "param": None,
                    "code": "3210",
                }
            ),
            JSON,
        ),
        Trouble.UNKNOWN_MODEL: Reply(
            400,
            b'{"object":"error","message":"Invalid model: no-such-model","type":"invalid_model","param":null,'
            b'"code":"1500"}',
            JSON,
        ),
    }


class VoyageForm(HostedForm):
    """Voyage: only the total of the tokens, no list of models, errors as FastAPI has them."""

    around: ClassVar[bytes] = b'{"object":"list","data":%b,"model":"voyage-3.5","usage":{"total_tokens":7}}'
    pages: ClassVar[Mapping[str, Reply]] = {}
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.UNKNOWN_PATH: Reply(404, b'{"detail":"Not Found"}', JSON),
        Trouble.UNKNOWN_MODEL: Reply(
            400, b'{"detail":"Model no-such-model is not supported. Supported models are [\'voyage-3.5\']."}', JSON
        ),
    }


class JinaForm(HostedForm):
    """Jina: numbers for ``encoding_format``; base64 is asked for by ``embedding_type``."""

    around: ClassVar[bytes] = (
        b'{"model":"jina-embeddings-v3","object":"list","usage":{"total_tokens":7,"prompt_tokens":7},"data":%b}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {"/v1/models": models("jina-embeddings-v3", "jina-reranker-v2")}

    def answer_to(self, body: bytes, vectors: Sequence[bytes]) -> bytes:
        wanted = {"encoding_format": members(body).get("embedding_type")}
        return super().answer_to(compact(wanted), vectors)


class GeminiForm(HostedForm):
    """Gemini's OpenAI route: protobuf leaves an index of 0 out."""

    path: ClassVar[str] = "/v1beta/openai/embeddings"
    pages: ClassVar[Mapping[str, Reply]] = {"/v1beta/openai/models": models("models/gemini-embedding-001", "models/x")}
    can_base64: ClassVar[bool] = False
    around: ClassVar[bytes] = b'{"object":"list","data":%b,"model":"gemini-embedding-001"}'

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return super().answer(vectors).replace(b'"index":0,', b"")
