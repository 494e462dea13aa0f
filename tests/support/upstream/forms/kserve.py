"""Servers of KServe's protocols: KServe's SDK 0.21.0 (v1), MLServer 1.7.1 and Triton 2.51.0 (v2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.upstream.forms.fastapi import ROUTER, UVICORN, UVICORN_IDLE, invalid, json_reply, malformed
from tests.support.upstream.forms.form import Recorded, Reply, Trouble, compact, members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _error(status: int, text: str, *headers: str) -> Reply:
    return Reply(status, compact({"error": text}), headers)


class KserveForm(Recorded):
    """KServe's SDK, v1: ``instances`` in, ``predictions`` out. It reads JSON only as exactly ``application/json``."""

    path: ClassVar[str] = "/v1/models/minilm:predict"
    health_path: ClassVar[str] = "/v2/health/ready"
    headers: ClassVar[tuple[str, ...]] = UVICORN
    inputs_member: ClassVar[str] = "instances"
    pages: ClassVar[Mapping[str, Reply]] = {
        "/v2/health/ready": json_reply(200, {"ready": True}),
        "/v2/health/live": json_reply(200, {"live": True}),
        "/v1/models/minilm": json_reply(200, {"name": "minilm", "ready": True}),
        "/v1/models": json_reply(200, {"models": ["minilm"]}),
        "/v2": json_reply(200, {"name": "kserve", "version": "0.21.0", "extensions": ["model_repository_extension"]}),
    }
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        **ROUTER,
        Trouble.BAD_INPUT: Reply(500, b'{"error":"ValueError : cannot embed \'poison\'"}', UVICORN, closes=True),
        Trouble.REFUSED_INPUT: _error(400, 'Expected "instances" to be a list', *UVICORN),
        Trouble.MALFORMED: _error(
            400, "Unrecognized request format: unexpected end of data: line 1 column 18 (char 17)", *UVICORN
        ),
        Trouble.UNKNOWN_MODEL: _error(404, "Model with name nope does not exist.", *UVICORN),
        Trouble.WRONG_METHOD: _error(404, "Model with name minilm:predict does not exist.", *UVICORN),
    }

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return b'{"predictions":[%b]}' % b",".join(vectors)

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return compact({"error": text})

    def failure(self, text: str) -> Reply:
        return Reply(500, self.refusal(f"ValueError : {text}"), UVICORN, closes=True)


class V2Form(Recorded):
    """The Open Inference Protocol: one tensor of texts in, one of flat numbers out, row by row."""

    path: ClassVar[str] = "/v2/models/minilm/infer"
    health_path: ClassVar[str] = "/v2/health/ready"
    #: The body around a shape and the flat numbers.
    around: ClassVar[bytes]

    def inputs(self, body: bytes) -> list[Any]:
        tensors = members(body).get("inputs", [])
        return (
            [each for row in tensors[0]["data"] for each in (row if isinstance(row, list) else [row])]
            if tensors
            else []
        )

    def options(self, body: bytes) -> dict[str, Any]:
        """Return all but the texts: the tensor's name, shape and datatype too."""
        given = members(body)
        tensors = [{name: value for name, value in each.items() if name != "data"} for each in given.pop("inputs", [])]
        return {"inputs": tensors, **given}

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        numbers = b",".join(each.removeprefix(b"[").removesuffix(b"]") for each in vectors)
        width = vectors[0].count(b",") + 1 if vectors else 0
        return self.around % (len(vectors), width, numbers)

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return compact({"error": text})


def _traceback(text: str) -> str:
    return (
        'Traceback (most recent call last):\n  File "/srv/server.py", line 165, in __call__\n    await self.app()\n'
        f'  File "/srv/model.py", line 31, in predict\n    vectors = embed(texts)\nValueError: {text}\n'
    )


class MlserverForm(V2Form):
    """MLServer. An exception of the model is its whole traceback as text; health has no body."""

    idle: ClassVar[float | None] = UVICORN_IDLE
    headers: ClassVar[tuple[str, ...]] = (*UVICORN, "ce-specversion: 0.3", "vary: Accept-Encoding")
    around: ClassVar[bytes] = (
        b'{"model_name":"minilm","id":"20e688f7-f70f-480e-b8eb-3507977b9000","parameters":{},"outputs":[{"name":'
        b'"embedding","shape":[%d,%d],"datatype":"FP32","parameters":{"content_type":"np"},"data":[%b]}]}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {
        "/v2/health/ready": Reply(200, b"", UVICORN),
        "/v2/health/live": Reply(200, b"", UVICORN),
        "/v2/models/minilm/ready": Reply(200, b"", UVICORN),
        "/v2/models/minilm": json_reply(
            200, {"name": "minilm", "versions": [], "platform": "", "inputs": [], "outputs": [], "parameters": {}}
        ),
        "/v2": json_reply(200, {"name": "mlserver", "version": "1.7.1", "extensions": []}),
    }
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        **ROUTER,
        Trouble.REFUSED_INPUT: invalid(("string_type", ["body", "id"], "Input should be a valid string", 5)),
        Trouble.MALFORMED: malformed(14, "unexpected end of data"),
        Trouble.UNKNOWN_MODEL: _error(404, "Model nope not found", *UVICORN),
    }

    def failure(self, text: str) -> Reply:
        return Reply(500, _traceback(text).encode(), ("Content-Type: text/plain; charset=utf-8", *UVICORN), closes=True)

    def trouble(self, kind: Trouble) -> Reply | None:
        return self.failure("cannot embed 'poison'") if kind is Trouble.BAD_INPUT else self.troubles.get(kind)


_TEXT = "Content-Type: text/plain"


class TritonForm(V2Form):
    """Triton, which labels some of its JSON as text. A full queue is 503, and a model that is not ready 400."""

    around: ClassVar[bytes] = (
        b'{"model_name":"minilm","model_version":"1","outputs":[{"name":"embedding","datatype":"FP32",'
        b'"shape":[%d,%d],"data":[%b]}]}'
    )
    pages: ClassVar[Mapping[str, Reply]] = {
        "/v2/health/ready": Reply(200, b"", (_TEXT,)),
        "/v2/health/live": Reply(200, b"", (_TEXT,)),
        "/v2/models/minilm/ready": Reply(200, b"", (_TEXT,)),
        "/v2/models/minilm": Reply(
            200,
            compact(
                {
                    "name": "minilm",
                    "versions": ["1"],
                    "platform": "python",
                    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}],
                    "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [-1, -1]}],
                }
            ),
        ),
    }
    troubles: ClassVar[Mapping[Trouble, Reply]] = {
        Trouble.REFUSED_INPUT: _error(400, "unexpected inference input 'nope' for model 'minilm'"),
        Trouble.TOO_MANY: _error(
            400, "[request id: <id_unknown>] inference request batch-size must be <= 32 for 'minilm'"
        ),
        Trouble.MALFORMED: _error(
            500, "failed to parse the request JSON buffer: Missing a comma or '}' after an object member. at 14"
        ),
        Trouble.OVERLOADED: _error(503, "[request id: <id_unknown>] Exceeds maximum queue size"),
        Trouble.NOT_READY: _error(400, "Model version not ready", _TEXT),
        Trouble.UNKNOWN_MODEL: _error(404, "Request for unknown model: 'nope' is not found", _TEXT),
        Trouble.UNKNOWN_PATH: _error(404, "Not Found", _TEXT),
        Trouble.WRONG_METHOD: _error(405, "Method Not Allowed", _TEXT),
    }

    def failure(self, text: str) -> Reply:
        said = (
            "Failed to process the request(s) for model 'minilm_0_0', message: TritonModelException: Model execute "
            f"error: {_traceback(text)}"
        )
        return _error(500, said, _TEXT)

    def trouble(self, kind: Trouble) -> Reply | None:
        return self.failure("cannot embed 'poison'") if kind is Trouble.BAD_INPUT else self.troubles.get(kind)
