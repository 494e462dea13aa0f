"""The words of every server are found in its own form, and nothing else in the body is taken for them."""

from __future__ import annotations

import json

import pytest

from upstream.dialects.relaying import MAX_RELAYED_TEXT
from upstream.dialects.words import decoded, read

EMPTY = "Input validation error: `inputs` cannot be empty"
NO_FALLBACK = "LiteLLM: model group 'minilm' failed with the error above. No fallback was attempted."
#: Errors of pydantic as vLLM prints them, as a handler does that prints the exception, and in a list.
OF_VLLM = """10 validation errors:
  {'type': 'list_type', 'loc': 'body.input', 'msg': 'Input should be a valid list', 'input': 'secret'}
  {'type': 'enum', 'loc': 'body.x', 'msg': "Input should be 'a' or 'b'", 'input': 'secret', 'ctx': {'a': "secret"}}"""
OF_PYDANTIC = """1 validation error for EmbedRequest
inputs
  Input should be a valid string [type=string_type, input_value={'a': ['secret']}, input_type=dict]
    For further information visit https://x.example/2/v"""
#: Tracebacks of Python: a plain one, one of two exceptions, and Triton's.
TRACEBACK = """Traceback (most recent call last):
  File "/srv/a.py", line 165, in __call__
    await self.app(scope)
ValueError: cannot embed 'poison'
"""
TWO_TRACEBACKS = """Traceback (most recent call last):
  File "/srv/a.py", line 1, in f
    g()
KeyError: 1

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/a.py", line 3, in f
    h()
torch.cuda.OutOfMemoryError: CUDA out of memory.
Compile with DSA.
"""
TRITON = "Failed to process the request(s) for model 'm_0_0', message: TritonModelException: Model execute error: "
AT = """

At:
  /tmp/model.py(435): execute
"""


def words(body: object) -> str:
    return read(body if isinstance(body, bytes) else json.dumps(body).encode())[0]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        # TEI: its own routes, OpenAI's, and the parser in front of both
        ({"error": EMPTY, "error_type": "Empty"}, EMPTY),
        ({"message": EMPTY, "code": 400, "type": "Empty"}, EMPTY),
        (
            b"Failed to parse the request body as JSON: EOF while parsing an object at line 1 column 14",
            "Failed to parse the request body as JSON: EOF while parsing an object",
        ),
        ({"error": "Model is overloaded", "error_type": "Overloaded"}, "Model is overloaded"),
        # FastAPI, pydantic, uvicorn
        ({"detail": "There was an error parsing the body"}, "There was an error parsing the body"),
        (
            {
                "detail": [
                    {
                        "type": "string_type",
                        "loc": ["body", "inputs", "str"],
                        "msg": "Input should be a valid string",
                        "input": ["secret"],
                        "url": "https://errors.pydantic.dev/2.9/v/string_type",
                    },
                    {
                        "type": "string_type",
                        "loc": ["body", "inputs", "list[str]", 1],
                        "msg": "Input should be a valid string",
                        "input": "secret",
                        "ctx": {"error": "secret"},
                    },
                    {"type": "missing", "loc": ["body"], "msg": "Field required", "input": None},
                ]
            },
            "Input should be a valid string; Field required",
        ),
        (
            {
                "detail": [
                    {"type": "missing", "loc": ["body", "texts"], "msg": "Field required", "input": {"inputs": ["s"]}}
                ]
            },
            "Field required: texts",
        ),
        (
            {"detail": [{"type": "missing", "loc": ["body", "inputs", 3], "msg": "Field required", "input": "secret"}]},
            "Field required",
        ),
        (b"Internal Server Error", "Internal Server Error"),
        # infinity
        (
            {"error": {"message": "model minilm is currently overloaded", "type": None, "param": None, "code": 429}},
            "model minilm is currently overloaded",
        ),
        # vLLM
        (
            {"error": {"message": OF_VLLM, "type": "Bad Request", "param": "body.input", "code": 400}},
            "Input should be a valid list; Input should be 'a' or 'b'",
        ),
        (
            {
                "error": {
                    "message": "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
                    "type": "Bad Request",
                    "param": None,
                    "code": 400,
                }
            },
            "Unsupported Media Type: Only 'application/json' is allowed",
        ),
        # llama-server
        (
            {
                "error": {
                    "code": 500,
                    "message": "input (3002 tokens) is too large to process. increase the physical batch size (current "
                    "batch size: 512)",
                    "type": "server_error",
                }
            },
            "input (3002 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
        ),
        # LiteLLM
        (
            {
                "error": {
                    "message": f"litellm.BadRequestError: OpenAIException - Error code: 400 - {EMPTY}\n\n{NO_FALLBACK}",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "400",
                }
            },
            f"litellm.BadRequestError: OpenAIException - Error code: 400 - {EMPTY} {NO_FALLBACK}",
        ),
        # KServe
        ({"error": "ValueError : cannot embed 'poison'"}, "ValueError : cannot embed 'poison'"),
        # MLServer
        (TRACEBACK.encode(), "ValueError: cannot embed 'poison'"),
        (TWO_TRACEBACKS.encode(), "torch.cuda.OutOfMemoryError: CUDA out of memory."),
        # Triton
        ({"error": TRITON + TRACEBACK + AT}, TRITON + "ValueError: cannot embed 'poison'"),
        (
            {"error": "[request id: <id_unknown>] inference request batch-size must be <= 32 for 'minilm'"},
            "inference request batch-size must be <= 32 for 'minilm'",
        ),
        # Azure, Spring, RFC 9457, AWS, GraphQL, Hugging Face, TorchServe, a handler that prints pydantic's error
        ({"error": {"code": "BadRequest", "message": "too long", "innererror": {"code": "secret"}}}, "too long"),
        ({"error": {"code": "BadRequest", "message": "", "details": [{"message": "secret"}]}}, ""),
        ({"timestamp": 1, "status": 500, "error": "Internal Server Error", "message": "too long"}, "too long"),
        ({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "too long"}, "too long"),
        ({"type": "about:blank", "title": "Bad Request", "status": 400}, "Bad Request"),
        ({"Message": "too long"}, "too long"),
        ({"errors": [{"message": "a"}, "b", {"detail": "a"}]}, "a; b"),
        ({"error": ["a", "b"], "warnings": ["secret"]}, "a; b"),
        ({"code": 400, "type": "BadRequestException", "message": "too long"}, "too long"),
        ({"detail": {"error": "too long", "input": "secret"}}, "too long"),
        (
            {"detail": "[{'type': 'x', 'loc': ('body', 'inputs', 0), 'msg': 'Field required', 'input': 'secret'}]"},
            "Field required",
        ),
        ({"error": OF_PYDANTIC}, "inputs Input should be a valid string"),
        # gateways, object stores
        (b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>", "502 Bad Gateway"),
        (b"<!DOCTYPE html><html lang=en><TITLE >a &lt; b</TITLE>", "a < b"),
        (b"<html><h1>Hello</h1></html>", ""),
        (b"<?xml version='1.0'?><Error><Code>X</Code><Message>no</Message></Error>", "no"),
        # odd encodings
        (b'\xef\xbb\xbf{"error":"no"}', "no"),
        (b'{"error":"zu gro\xdf"}', "zu gro\ufffd"),
        ("Eingabe zu groß".encode("latin-1"), "Eingabe zu gro\ufffd"),
        ('{"error":"zu groß"}'.encode(), "zu groß"),
        (b"\x89PNG\r\n\0\0", ""),
        (b"\xff\xfe\xfd\xfcx", ""),
        (b"abc\xff", "abc\ufffd"),
        (b"ab\xff", ""),
        # a JSON text that is cut, or none
        (b'{"detail":[{"loc":["body"],"msg":"too long","input":["\\"msg\\":\\"secret\\"", "secr', "too long"),
        (b'{"detail":[{"loc":["body"],"input":"\\"error\\": \\"secret\\"', ""),
        (b'{"error":' + b"[" * 30_000, ""),
        (b'[{"msg":"too long","input":"secr', "too long"),
        # nothing
        (b"", ""),
        (b" \r\n", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"7", ""),
        (b'"no"', "no"),
        ({"error": 7, "input": "secret"}, ""),
        ({"input": "secret"}, ""),
        ({"error": {"error": {"error": {"error": {"error": "deep"}}}}}, "deep"),
        ({"error": {"error": {"error": {"error": {"error": {"error": "deep"}}}}}}, ""),
        ([[[[["deep"]]]]], "deep"),
        ([[[[[["deep"]]]]]], ""),
    ],
)
def test_the_words_are_found_in_every_form(body: object, text: str) -> None:
    assert words(body) == text


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (b'{"error":"no","error_type":"Validation"}', "Validation"),
        (b'{"error":"no"}', "Validation"),
        (b'{"error_type":"Tokenizer"}', "Tokenizer"),
        (b'{"message":"no","code":400,"type":"Empty"}', "Empty"),
        (b'{"message":"no","code":400,"type":"BadRequestException"}', "Validation"),
        (b'{"error":{"message":"no","type":"Empty"}}', "Validation"),
        (b'{"error":"no","error_type":"' + b"a" * 40 + b'"}', "a" * 40),
        (b'{"error":"no","error_type":"' + b"a" * 41 + b'"}', "Validation"),
        (b'{"error":7,"error_type":"<script>"}', "Validation"),
        (b'{"error":"no","error_type":""}', "Validation"),
        (b'{"error":"no","error_type":"a b"}', "Validation"),
        (b'{"error":"no","error_type":"a\\n"}', "Validation"),
        ('{"error":"no","error_type":"ä"}'.encode(), "Validation"),
        (b'{"error":"no","error_type":1}', "Validation"),
        (b"<html>", "Validation"),
        (b"no", "Validation"),
    ],
)
def test_the_type_is_taken_only_where_it_is_one_of_teis(body: bytes, error_type: str) -> None:
    assert read(body)[1] == error_type


@pytest.mark.parametrize("length", [MAX_RELAYED_TEXT, MAX_RELAYED_TEXT + 1, 60_000])
def test_long_words_are_cut(length: int) -> None:
    for body in (b'{"error":"' + b"x" * length + b'"}', b"x" * length):
        assert words(body) == "x" * MAX_RELAYED_TEXT


def test_json_is_read_with_a_byte_order_mark_and_with_bytes_that_are_no_utf_8() -> None:
    assert decoded(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    assert decoded(b'{"a":"\xff"}') == {"a": "\ufffd"}
    assert decoded(b"\xff") is None
    assert decoded(b"[" * 100_000) is None
