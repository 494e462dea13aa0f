"""Request bodies: what is accepted is what a plain JSON parser reads, and all else is refused with 400 or 422."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

from api.apis.embed import read_embed
from api.apis.fields import WITHOUT_EFFECT
from api.apis.query import Bounds
from api.apis.table import ROUTES
from api.body import DuplicateNameError, overview, parse_object
from api.error_forms import RequestError, error_body
from batching import Call
from upstream.dialects.tei import TeiDialect

if TYPE_CHECKING:
    from api.apis.query import Query

_dialect = TeiDialect()

MOST_ITEMS = 8
LONGEST_MESSAGE = 600

SEEDS = [
    b'{"input":"text"}',
    b'{"inputs":["a","b \\ud83d\\ude00 \xc3\xbc"],"normalize":true}',
    b'{"inputs":[[1,2,4294967295],[0]],"truncate":null,"dimensions":64}',
    b'{"input":[1,2],"truncation_direction":"left","prompt_name":"query"}',
    b'{"inputs":["a",[1]],"other":{"a":[1.5e3,-0.0,18446744073709551616,null]},"x":"\\u0000"}',
    b'{"inputs":"\\ud800"}',
    b'{"inputs":"a","x":1,"x":1}',
    b'{"x":[{"y":1,"y":2}],"user":"u","input":"a"}',
    b'{"inputs":["a",""],"normalize":"yes","dimensions":0}',
    b'{"input":"a","x":' + b"[" * 300 + b"]" * 300 + b"}",
]
TOKENS = [
    *(f'"{name}":'.encode() for name in ("input", "inputs", "normalize", "truncate", "truncation_direction")),
    *(b'"prompt_name":', b'"dimensions":', b'"x":', b'"user":', b'"Right"', b'"left"', b"true", b"false", b"null"),
    *(b"NaN", b"-Infinity", b"1e999", b"-0.0", b"4294967296", b"18446744073709551616"),
    *(b"[", b"]", b"{", b"}", b",", b'","', b'"', b"\\u0000", b"\\ud800", b"\\udc00", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
]


def check(data: bytes) -> None:
    try:
        query = read_embed(parse_object(data), Bounds(MOST_ITEMS))
    except RequestError as problem:
        _check_refusal(problem)
        return
    try:
        meant = json.loads(data.decode(), object_pairs_hook=_each_once, parse_constant=_never, parse_float=_finite)
    except RecursionError:
        return
    assert overview(data).keys() == meant.keys()
    _check_items(query, meant)
    _check_options(query, meant)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def _never(name: str) -> NoReturn:
    raise AssertionError(f"{name} was accepted")


def _finite(digits: str) -> float:
    number = float(digits)
    assert math.isfinite(number)
    return number


def _check_refusal(problem: RequestError) -> None:
    if isinstance(problem, DuplicateNameError):
        assert ROUTES[0].duplicate_status(problem.names) == (422 if "inputs" in problem.names else 400)
    assert problem.status in {400, 422}
    assert problem.error_type.isalpha()
    assert 0 < len(problem.message) <= LONGEST_MESSAGE
    assert json.loads(error_body(problem.message, problem.error_type, "id"))["error"] == problem.message


def _check_items(query: Query, meant: dict[str, Any]) -> None:
    given = [meant[name] for name in ("input", "inputs") if name in meant]
    assert len(given) == 1
    lone = isinstance(given[0], str) or type(given[0][0]) is int
    call = Call(query.items, query.key, 0.0)
    call.fill(0, [b"[1]"] * len(query.items))
    answer = json.loads(query.answer(call))
    vectors = [[1]] * len(query.items)
    assert answer == (vectors if "inputs" in meant else {"embedding": [1]} if lone else {"embeddings": vectors})
    items = [json.loads(item.decode()) for item in query.items]
    assert items == (given if lone else given[0])
    assert 1 <= len(items) <= MOST_ITEMS
    for item in items:
        assert item
        if isinstance(item, str):
            item.encode()
        else:
            assert all(type(token) is int and 0 <= token < 2**32 for token in item)


def _check_options(query: Query, meant: dict[str, Any]) -> None:
    """The upstream's body is strict JSON with the items, and with each option that is not its default, once."""
    sent = parse_object(_dialect.request(query.key, query.items).body or b"")
    assert len(sent.pop("inputs")) == len(query.items)
    json.dumps(sent, ensure_ascii=False).encode()
    options = {
        name: value
        for name, value in meant.items()
        if name not in {"input", "inputs"} | WITHOUT_EFFECT and not (name in {"parameters", "options"} and value == {})
    }
    assert sent.keys() <= options.keys()
    for name, value in options.items():
        expected = value.capitalize() if name == "truncation_direction" else value
        if name in sent:
            assert json.dumps(sent[name], sort_keys=True) == json.dumps(expected, sort_keys=True)
        else:
            assert (name, expected) in {("normalize", True), ("truncation_direction", "Right")} or value is None
