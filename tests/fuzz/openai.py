"""Bodies of ``/v1/embeddings``: each is refused with 400 in OpenAI's form, or becomes a query that means the same."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from api.apis.openai import read
from api.apis.openai_errors import OpenAiApi
from api.apis.query import Bounds
from api.apis.texts import estimated_tokens
from api.body import parse_object
from api.error_forms import RequestError
from batching import Call

if TYPE_CHECKING:
    from api.apis.query import Query

_api = OpenAiApi()

MOST_ITEMS = 8
LONGEST_PARAM = 80 * 12
#: Members that are no part of the key as themselves.
READ = frozenset({"input", "model", "encoding_format", "dimensions", "user"})

SEEDS = [
    b'{"input":"text","model":"m","encoding_format":"base64"}',
    b'{"input":["a","b \\ud83d\\ude00 \xc3\xbc"],"encoding_format":"float","user":"u"}',
    b'{"input":[[1,2,4294967295],[0]],"dimensions":64,"model":null}',
    b'{"input":["a",[1]],"input_type":"query","x":{"a":[1.5e3,-0.0,null]}}',
    b'{"input":"\\ud800","model":"\\ud800"}',
    b'{"input":["a",""],"dimensions":0,"encoding_format":"int8","model":1}',
    b'{"input":"a","\\ud800":1}',
    b'{"input":[1,2],"input":"a"}',
]
TOKENS = [
    *(f'"{name}":'.encode() for name in ("input", "model", "encoding_format", "dimensions", "user", "x")),
    *(b'"base64"', b'"float"', b"true", b"null", b"1e999", b"4294967296", b"18446744073709551616"),
    *(b"[", b"]", b"{", b"}", b",", b'","', b'"', b"\\u0000", b"\\ud800", b"\\udc00", b"\xed\xa0\x80"),
]


def check(data: bytes) -> None:
    try:
        query = read(parse_object(data), Bounds(MOST_ITEMS))
    except RequestError as problem:
        _check_refusal(problem)
        return
    try:
        meant = json.loads(data)
    except RecursionError:
        return
    _check_items(query, meant)
    _check_key(query, meant)
    _check_answer(query, meant)


def _check_refusal(problem: RequestError) -> None:
    assert _api.status(problem) == 400
    told = json.loads(_api.error(problem, "id"))["error"]
    assert told.keys() == {"message", "type", "param", "code"}
    assert told["type"] == "invalid_request_error"
    assert told["message"]
    assert told["param"] is None or len(told["param"]) <= LONGEST_PARAM


def _check_items(query: Query, meant: dict[str, Any]) -> None:
    given = meant["input"]
    items = [json.loads(item) for item in query.items]
    assert items == ([given] if isinstance(given, str) or type(given[0]) is int else given)
    assert 1 <= len(items) <= MOST_ITEMS
    assert all(items)
    assert query.has_token_ids is any(isinstance(item, list) for item in items)


def _check_key(query: Query, meant: dict[str, Any]) -> None:
    """The key holds what may change a vector, and nothing else."""
    task, options, model = query.key
    assert task == "embed"
    assert model == (meant.get("model") or None)
    assert options.dimensions == meant.get("dimensions")
    assert {name: json.loads(value) for name, value in options.more} == {
        name: value for name, value in meant.items() if name not in READ
    }
    assert options.family == ("openai" if options.more else "")
    assert options._replace(dimensions=None, more=(), family="") == type(options)()


def _check_answer(query: Query, meant: dict[str, Any]) -> None:
    call = Call(query.items, query.key, 0.0)
    call.fill(0, [b"[1]"] * len(query.items))
    answer = json.loads(query.answer(call))
    told = base64.b64encode(b"\0\0\x80?").decode() if meant.get("encoding_format") == "base64" else [1]
    assert [each["index"] for each in answer["data"]] == list(range(len(query.items)))
    assert all(each["embedding"] == told for each in answer["data"])
    assert answer["model"] == (meant.get("model") or "")
    assert answer["usage"]["total_tokens"] == estimated_tokens(query.items) >= len(query.items)
