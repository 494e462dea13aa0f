"""What reading a body costs: linear time, whatever stands in it, and an overview that makes no values."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest

from api.apis.embed import read_embed
from api.apis.query import Bounds
from api.body import overview, parse_object
from api.error_forms import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        (b"{}", {}),
        (b'{"a":1, "b": [1, 2] ,"c":"x"}', {"a": 1, "b": 6, "c": 3}),
        (b'{"a":"\\u00e4","a":{}}', {"a": 2}),
        (b"[1]", {}),
        (b'{"a":', {}),
        (b'{"a":\xff}', {}),
        (b'{"\xff":1}', {}),
    ],
)
def test_an_overview_tells_how_long_each_member_is(body: bytes, sizes: dict[str, int]) -> None:
    assert overview(body) == sizes


def linear(body: Callable[[int], bytes]) -> bool:
    """Return whether a body eight times as large takes less than twenty times as long.

    What grows with the square takes 64 times as long at each look. Other work on the machine lengthens single looks, so
    most of several pairs have to hold.
    """

    def took(size: int) -> float:
        began = time.thread_time()
        with pytest.raises(RequestError):
            read_embed(parse_object(body(size)), Bounds(1000))
        return time.thread_time() - began

    gc.disable()  # a collection while the body is read would look at all that other tests have left
    try:
        return sum(took(160_000) < 20 * took(20_000) for _ in range(11)) > 5
    finally:
        gc.enable()


def many_names(size: int, end: str) -> bytes:
    return ("{" + ",".join(f'"{number:x}":0' for number in range(size // 8)) + end).encode()


@pytest.mark.parametrize(
    "body",
    [
        lambda size: many_names(size, ',"z":0,"z":0}'),
        lambda size: many_names(size, ',"inputs":"a"}'),
        lambda size: b'{"x":%b,"inputs":"a"}' % many_names(size, "}"),
        lambda size: b'{"inputs":[%b0]}' % (b'"a",' * (size // 4)),
        lambda size: b'{"inputs":[[0,true]%b]}' % (b",[1]" * 900 + b" " * size),
        lambda size: b'{"inputs":"a","x":[%b0]}' % (b"1e9," * (size // 4)),
        lambda size: b'{"inputs":"a","x":[%b0]}' % (b"[]," * (size // 3)),
    ],
    ids=["a name twice", "names", "names within", "texts", "spaces", "floats", "lists"],
)
def test_the_time_for_a_body_grows_as_its_length_does(body: Callable[[int], bytes]) -> None:
    assert linear(body)
