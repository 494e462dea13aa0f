"""Bodies: within the limit, whole, and JSON that leaves nothing open to interpretation."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from api.body import BrokenBodyError, DuplicateNameError, TooSlowError, parse_object, read_body
from api.error_forms import RequestError
from tests.conftest import Edge, refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


def refusal(body: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert caught.value.status == 400
    caught.value.message.encode()
    return caught.value.message


# Strict JSON


def test_plain_json_comes_through() -> None:
    body = '{"a": [1, -0.5e3, "ü\\u00fc\\ud83d\\ude00", true, null, {}], "b": {"a": ""}}'
    assert parse_object(body.encode()) == json.loads(body)
    assert parse_object(b' \r\n\t{"a":1}\n') == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": }',
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": 01}',
        b'{"a": 1} x',
        b'{"a": 1}{"b": 2}',
        b'{"a": "\x01"}',
        b'{"a": "\n"}',
        b'{"a": "\\x41"}',
        b'{"a": tru}',
        b"{a: 1}",
        b'{"a": "\\u12"}',
        b'\x0b{"a": 1}',
        b"\x00",
        b"// comment\n{}",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert "not valid JSON" in refusal(body)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"true", b'["a"]'])
def test_the_top_must_be_an_object(body: bytes) -> None:
    assert "must be an object" in refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "\xff"}',
        b'{"a": "\xc0\x80"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xf4\x90\x80\x80"}',
        b'{"a": "caf\xe9"}',
        '{"a": 1}'.encode("utf-16"),
        b"\x1f\x8b\x08\x00",
    ],
)
def test_bytes_that_are_not_utf_8_are_refused(body: bytes) -> None:
    assert "not UTF-8" in refusal(body)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_byte_order_marks_and_wider_encodings_are_refused(encoding: str) -> None:
    refusal('{"a": 1}'.encode(encoding))


@pytest.mark.parametrize("body", [b'{"a":1,"a":1}', b'{"a":1,"b":2,"\\u0061":3}', b'{"x":{"a":1,"a":2}}'])
def test_a_name_that_stands_twice_is_refused_and_named(body: bytes) -> None:
    assert '"a" stands twice' in refusal(body)


def test_the_name_that_stands_twice_is_quoted_safely_and_in_short() -> None:
    assert "\\ud800" in refusal(b'{"\\ud800":1,"\\ud800":2}')
    assert len(refusal(b'{"%b":1,"%b":2}' % (b"x" * 9000, b"x" * 9000))) < 200


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"inputs":"a","inputs":"b"}', {"inputs"}),
        (b'{"inputs":"a","x":{"y":1,"y":2}}', {"inputs", "x"}),
        (b'{"x":[{"y":1,"y":2}],"\\u0069nputs":"a"}', {"inputs", "x"}),
        (b'[{"inputs":1,"inputs":2}]', set()),
        (b'{"a":{"b":1,"b":2}', set()),
        (b'{"a":{"b":1,"b":2},"c":"\\ud800"}', set()),
        (b'{"a":{"b":1,"b":2},"c":' + b"[" * 50_000, set()),
    ],
)
def test_a_body_with_a_name_twice_is_told_with_the_names_of_its_outermost_object(body: bytes, names: set[str]) -> None:
    with pytest.raises(DuplicateNameError) as caught:
        parse_object(body)
    assert caught.value.names == names


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 400 + b".0"])
def test_numbers_that_json_or_floats_cannot_hold_are_refused(number: bytes) -> None:
    refusal(b'{"a": %b}' % number)
    refusal(b'{"a": [[%b]]}' % number)


def test_a_whole_number_of_5000_digits_is_refused() -> None:
    assert refusal(b'{"a": %b}' % (b"9" * 5000)) == "a whole number in the JSON has too many digits"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_bottomless_nesting_is_refused(opening: bytes, closing: bytes) -> None:
    assert "too deeply" in refusal(b'{"a":%b1%b}' % (opening * 50_000, closing * 50_000))
    assert "too deeply" in refusal(b'{"a":' + opening * 50_000)


@pytest.mark.parametrize("depth", range(100, 1100, 50))
def test_nesting_of_any_depth_is_either_taken_or_refused(edge: Edge, depth: int) -> None:
    body = b'{"input":"a","x":%b%b}' % (b"[" * depth, b"]" * depth)
    assert edge.post(body).status_code in {200, 400}


# Bodies as a server hands them over


def environ_of(stream: Any, **more: str) -> dict[str, Any]:
    return {"CONTENT_TYPE": "application/json", "wsgi.input": stream, **more}


class FailingStream:
    """A body that breaks when it is read."""

    def __init__(self, problem: Exception) -> None:
        self._problem = problem

    def read(self, size: int) -> bytes:
        raise self._problem


@pytest.mark.parametrize(
    ("problem", "status", "message"),
    [
        (TooSlowError(), 408, "did not arrive in time"),
        (BrokenBodyError("chunk"), 400, "ended early or its chunks are malformed"),
        (ConnectionResetError("reset"), 400, "ended early or its chunks are malformed"),
    ],
)
@pytest.mark.parametrize("length", [{"CONTENT_LENGTH": "9"}, {"HTTP_TRANSFER_ENCODING": "chunked"}])
def test_a_body_that_cannot_be_read_is_refused_with_its_reason(
    problem: Exception, status: int, message: str, length: dict[str, str]
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        read_body(environ_of(FailingStream(problem), **length), 100)
    assert caught.value.status == status
    assert caught.value.__cause__ is problem


@pytest.mark.parametrize(("limit", "fits"), [(8, True), (7, False)])
def test_the_limit_holds_for_chunks_too(limit: int, fits: bool) -> None:
    environ = environ_of(BytesIO(b'{"a": 1}'), HTTP_TRANSFER_ENCODING="chunked")
    if fits:
        assert read_body(environ, limit) == b'{"a": 1}'
        return
    with pytest.raises(RequestError) as caught:
        read_body(environ, limit)
    assert caught.value.status == 413


def test_reading_a_body_needs_no_server_and_no_framework() -> None:
    show = "import sys, api.body; print(sorted({'flask', 'werkzeug', 'gunicorn'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Over HTTP


@pytest.mark.parametrize(
    "media_type", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonp", "image/x+json"]
)
def test_another_media_type_is_refused(edge: Edge, media_type: str) -> None:
    response = edge.client.post("/embed", data=b'{"input":"a"}', content_type=media_type)
    assert "application/json" in refused(response, 415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    "media_type",
    ["application/json; charset=utf-8", "Application/JSON", " application/json ;x=y", "application/vnd.x+json"],
)
def test_the_media_type_may_have_parameters_and_any_case(edge: Edge, media_type: str) -> None:
    assert edge.client.post("/embed", data=b'{"input":"a"}', content_type=media_type).status_code == 200


def test_a_compressed_body_is_refused_as_such(edge: Edge) -> None:
    response = edge.post(b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip"})
    assert "Content-Encoding" in refused(response, 415, "UnsupportedMediaType")
    assert edge.post({"input": "a"}, {"Content-Encoding": "identity"}).status_code == 200


def test_a_request_without_a_body_is_told_to_send_one(edge: Edge) -> None:
    environ = {"CONTENT_LENGTH": "", "CONTENT_TYPE": "application/json"}
    response = edge.client.open("/embed", method="POST", environ_overrides=environ)
    refused(response, 411, "LengthRequired")


def test_an_empty_body_is_not_json(edge: Edge) -> None:
    environ = {"CONTENT_LENGTH": "0", "CONTENT_TYPE": "application/json"}
    refused(edge.client.open("/embed", method="POST", environ_overrides=environ), 400, "BadRequest")


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        (b'{"input":"a","input":"b"}', 400, "BadRequest"),
        (b'{"inputs":"a","inputs":"b"}', 422, "Validation"),
        (b'{"x":{"y":1,"y":2},"inputs":"a"}', 422, "Validation"),
        (b'{"x":1,"x":2}', 400, "BadRequest"),
        (b'{"input":"\\ud800"}', 422, "Validation"),
        (b'{"inputs":"\\ud800"}', 400, "BadRequest"),
        (b'{"input":""}', 422, "Validation"),
        (b'{"inputs":""}', 400, "Empty"),
        (b'{"inputs":["a",""]}', 400, "Empty"),
        (b'{"inputs":[[]]}', 400, "Empty"),
        (b'{"inputs":null}', 422, "Validation"),
        (b'{"inputs":"a","normalize":null}', 422, "Validation"),
        (b'{"inputs":"a"', 400, "BadRequest"),
        (b'{"inputs":"a","x":NaN}', 400, "BadRequest"),
    ],
)
def test_teis_body_gets_teis_status_and_the_short_form_its_own(
    edge: Edge, body: bytes, status: int, error_type: str
) -> None:
    refused(edge.post(body), status, error_type)
    assert edge.upstream.batches == []


def test_a_body_shorter_than_announced_is_refused(edge: Edge) -> None:
    body = b'{"input":"a"}'
    environ = {"CONTENT_LENGTH": str(len(body) + 40), "CONTENT_TYPE": "application/json"}
    response = edge.client.post("/embed", data=body, environ_overrides=environ)
    assert "13 of 53 bytes" in refused(response, 400, "BadRequest")


def test_a_body_beyond_the_limit_is_refused_and_one_at_the_limit_is_not(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(payload_limit=1024) as edge:
        frame = len(b'{"input":""}')
        assert edge.post(b'{"input":"%b"}' % (b"x" * (1024 - frame))).status_code == 200
        message = refused(edge.post(b'{"input":"%b"}' % (b"x" * (1025 - frame))), 413, "PayloadTooLarge")
        assert "1025" in message
        assert "1024" in message
