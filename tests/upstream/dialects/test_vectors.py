"""Where vectors stand in an answer whose form is not known, and how they are cut out of it."""

from __future__ import annotations

import json

import pytest

from batching.errors import UpstreamMisconfigured, UpstreamProtocolError
from formats.slices import BadRowsError
from upstream.dialects.vectors import find, split_at

FORMS = [
    (b"[[1.50,2],[3,4]]", ()),
    (b'{"embeddings":[[1.50,2],[3,4]]}', ("embeddings",)),
    (b'{"model":"m","dim":2,"vectors": [ [1.50,2],[3,4] ]}', ("vectors",)),
    (b'{"data":[[1.50,2],[3,4]],"shape":[2,2]}', ("data",)),
    (b'{"data":[{"embedding":[1.50,2]},{"embedding":[3,4]}]}', ("data",)),
    (b'{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1.50,2]}],"object":"list"}', ("data",)),
    (b'[{"embedding":[1.50,2],"index":0},{"embedding":[3,4],"index":1}]', ()),
    (b'{"result":{"status":"ok","vectors":[[1.50,2],[3,4]]}}', ("result", "vectors")),
    (b'{"predictions":[[1.50,2],[3,4]]}', ("predictions",)),
    (b'{"made_up":[[1.50,2],[3,4]],"count":2}', ("made_up",)),
    (b'{"sparse":[[0,1],[0,1]],"embeddings":[[1.50,2],[3,4]]}', ("embeddings",)),
    (b'{"tokens":[["a"],["b"]],"out":[[1.50,2],[3,4]]}', ("out",)),
]


@pytest.mark.parametrize(("body", "place"), FORMS)
def test_vectors_are_found_and_keep_their_bytes(body: bytes, place: tuple[str, ...]) -> None:
    assert find(body) == place
    assert split_at(body, place, 2) == ([b"[1.50,2]", b"[3,4]"], 2)


def test_a_last_name_may_be_that_of_a_member_of_each_element() -> None:
    body = b'{"data":[{"dense":[9],"mine":[1,2]},{"dense":[9],"mine":[3,4]}]}'
    assert split_at(body, ("data", "mine"), 2) == ([b"[1,2]", b"[3,4]"], 2)
    with pytest.raises(UpstreamProtocolError, match="without 'other'"):
        split_at(body, ("data", "other"), 2)


@pytest.mark.parametrize("body", [b"[0.1,-0.2]", b'{"embedding":[0.1,0.2]}', b'{"data":{"vector":[ -1e-3, 2]}}'])
def test_one_vector_for_a_list_shows_a_server_that_takes_one_text_a_call(body: bytes) -> None:
    for count in (1, 2):
        with pytest.raises(UpstreamMisconfigured, match="one text a call") as caught:
            split_at(body, find(body), count)
        assert "one text a call" in caught.value.reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not a JSON object"),
        (b"<html><title>Login</title>", "Login"),
        (b"null", "not a JSON object"),
        (b"{}", "holds no vectors"),
        (b'{"error":"the model is not loaded"}', "the model is not loaded"),
        (b'{"data":[]}', "holds no vectors"),
        (b'{"data":"AAAA"}', "holds no vectors"),
        (b'{"a":[[1]],"b":[[2]]}', "any of these: a, b"),
        (b"{" * 100_000, "not a JSON object"),
    ],
)
def test_an_answer_without_vectors_is_an_error_in_the_servers_words(body: bytes, words: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=words):
        find(body)


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        (b'{"a":[[1],[2]]}', ("b",), "no member 'b'"),
        (b'{"message":"out of memory"}', ("b",), "out of memory"),
        (b'{"a":[[1]]}', ("a",), "1 vectors for 2 inputs"),
        (b'{"a":[[1],[2],[3]]}', ("a",), "3 vectors for 2 inputs"),
        (b'{"a":[{"embedding":[1]}]}', ("a",), "1 results for 2 inputs"),
        (b'{"a":[{"embedding":[1]},{"text":"b"}]}', ("a",), "a result without 'embedding'"),
        (b'{"a":[{"text":"a"},{"text":"b"}]}', ("a",), "a result without a vector"),
        (b'{"a":[{"embedding":[1]},[2]]}', ("a",), "something else between"),
        (b'{"a":[{"embedding":[1],"index":0},{"embedding":[2],"index":0}]}', ("a",), "from 0 on"),
        (b'{"a":[{"embedding":[1],"index":1},{"embedding":[2],"index":2}]}', ("a",), "from 0 on"),
        (b'{"a":[{"embedding":[1],"index":0},{"embedding":[2]}]}', ("a",), "from 0 on"),
        (b'{"a":{"b":1}}', ("a",), "not a JSON array"),
        (b'[["x"],["y"]]', (), "not a vector"),
    ],
)
def test_results_that_do_not_fit_the_call_are_refused_whole(body: bytes, place: tuple[str, ...], words: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=words):
        split_at(body, place, 2)


@pytest.mark.parametrize(
    "body",
    [
        b'{"embeddings":[[1.0,2.0],[NaN,1.0]]}',
        b'{"embeddings":[[1.0,2.0],[-Infinity, 1.0]],"score":NaN}',
        b'{"embeddings":[[1.0,2.0],null]}',
        b"[[1.0,2.0],[NaN,NaN]]",
        b'{"data":[{"embedding":[1.0,2.0]},{"embedding":[null,1]}]}',
    ],
)
def test_a_row_that_is_no_vector_is_told_apart_from_the_others(body: bytes) -> None:
    with pytest.raises(BadRowsError) as caught:
        split_at(body, find(body), 2)
    assert caught.value.rows == [b"[1.0,2.0]", None]


def test_a_row_that_is_null_may_be_the_first_of_a_member_with_a_usual_name() -> None:
    body = b'{"embeddings":[null,[1,2]],"mine":[null]}'
    assert find(body) == ("embeddings",)


def test_an_answer_of_many_vectors_is_cut_without_loss() -> None:
    vectors = [[at + 0.5] * 384 for at in range(64)]
    slices, dimension = split_at(json.dumps({"embeddings": vectors}).encode(), ("embeddings",), 64)
    assert [json.loads(each) for each in slices] == vectors
    assert dimension == 384


@pytest.mark.parametrize("name", ["id", "position", "object_index"])
def test_a_member_that_numbers_all_elements_tells_their_order(name: str) -> None:
    body = json.dumps({"data": [{name: 1, "embedding": [1.0]}, {name: 0, "embedding": [0.0]}]}).encode()
    assert split_at(body, find(body), 2)[0] == [b"[0.0]", b"[1.0]"]


@pytest.mark.parametrize("ids", [[7, 3], ["b", "a"], [1, 2], [0, 0]])
def test_a_member_that_numbers_them_in_another_way_tells_nothing(ids: list[object]) -> None:
    body = json.dumps({"data": [{"id": each, "embedding": [float(at)]} for at, each in enumerate(ids)]}).encode()
    assert split_at(body, find(body), 2)[0] == [b"[0.0]", b"[1.0]"]
