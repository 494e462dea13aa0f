"""What a body means: strict types, errors that name the field, and the batch key that options make."""

from __future__ import annotations

import pytest

from api.apis.embed import read_embed
from api.apis.fields import MAX_OPTION_BYTES, MAX_TOKEN_ID, embed_key
from api.apis.native import NativeApi
from api.apis.openai_errors import OpenAiApi
from api.apis.query import Bounds, Query
from api.apis.table import ROUTES, api_of
from api.apis.tei import TeiApi
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task


def load(body: dict[str, object]) -> Query:
    return read_embed(body, Bounds(items=1000))


def options(**members: object) -> Options:
    return load({"inputs": "a", **members}).key.options


def answer(body: dict[str, object], *results: bytes) -> bytes:
    query = load(body)
    call = Call(query.items, query.key, 0.0)
    call.fill(0, list(results))
    return query.answer(call)


def refusal(body: dict[str, object], status: int = 422, error_type: str = "") -> str:
    with pytest.raises(RequestError) as caught:
        load(body)
    assert caught.value.status == status
    assert caught.value.error_type == (error_type or ("Empty" if status == 400 else "Validation"))
    return caught.value.message


# The batch key


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"normalize": False}, Options(normalize=False)),
        ({"truncate": True}, Options(truncate=True)),
        ({"truncate": False}, Options(truncate=False)),
        ({"truncation_direction": "Left"}, Options(truncation_direction="left")),
        ({"truncation_direction": "left"}, Options(truncation_direction="left")),
        ({"prompt_name": "query"}, Options(prompt_name="query")),
        ({"prompt_name": ""}, Options(prompt_name="")),
        ({"dimensions": 64}, Options(dimensions=64)),
        ({"model": "m"}, Options(more=(("model", b'"m"'),), family="tei")),
        ({"users": {"b": [1, None], "a": 0.5}}, Options(more=(("users", b'{"a":0.5,"b":[1,null]}'),), family="tei")),
        ({"unknown": None}, Options(more=(("unknown", b"null"),), family="tei")),
        ({"": 1}, Options(more=(("", b"1"),), family="tei")),
        ({"x": "ü\n"}, Options(more=(("x", '"ü\\n"'.encode()),), family="tei")),
        ({"x": 10**30}, Options(more=(("x", b"1000000000000000000000000000000"),), family="tei")),
        ({"z": 1, "a": 2, "normalize": False}, Options(normalize=False, more=(("a", b"2"), ("z", b"1")), family="tei")),
        ({"more": 1, "options": 2}, Options(more=(("more", b"1"), ("options", b"2")), family="tei")),
    ],
)
def test_every_option_that_may_change_the_result_joins_the_key(members: dict[str, object], expected: Options) -> None:
    assert options(**members) == expected


@pytest.mark.parametrize(
    "members",
    [
        {"normalize": True},
        {"truncate": None},
        {"truncation_direction": "Right"},
        {"truncation_direction": "right"},
        {"prompt_name": None},
        {"dimensions": None},
        {"normalize": True, "truncate": None, "truncation_direction": "Right", "prompt_name": None},
        {"user": "u1"},
        {"user": {"name": ["u", 1]}, "normalize": True},
    ],
)
def test_options_that_say_what_holds_anyway_share_the_plain_key(members: dict[str, object]) -> None:
    assert load({"input": "a", **members}).key == load({"inputs": ["a", "b"]}).key == BatchKey(Task.EMBED)


def test_a_member_that_the_upstream_is_known_to_read_over_is_no_part_of_the_key() -> None:
    assert embed_key({"user": "u", "request_id": 1, "x": 2}) == embed_key({"request_id": 1, "x": 2})
    assert embed_key({"request_id": 1, "normalize": True}, ignored={"request_id"}) == BatchKey(Task.EMBED)
    expected = Options(more=(("x", b"2"),), family="tei")
    assert embed_key({"request_id": 1, "x": 2}, ignored={"request_id"}).options == expected


def test_the_order_of_options_does_not_matter() -> None:
    assert options(normalize=False, model="m", dimensions=8) == options(dimensions=8, model="m", normalize=False)
    assert options(x={"a": 1, "b": 2}) == options(x={"b": 2, "a": 1})


def test_different_values_never_share_a_key() -> None:
    values = [0, 1, 1.5, "1", True, False, None, [1], {"1": 1}, ""]
    assert len({options(x=value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input": "a"}, b'{"embedding":[1]}'),
        ({"input": [1, 2]}, b'{"embedding":[1]}'),
        ({"input": ["a"]}, b'{"embeddings":[[1]]}'),
        ({"input": [[1, 2]]}, b'{"embeddings":[[1]]}'),
        ({"inputs": "a"}, b"[[1]]"),
        ({"inputs": ["a"]}, b"[[1]]"),
    ],
)
def test_the_body_says_in_which_form_the_answer_is_due(body: dict[str, object], expected: bytes) -> None:
    assert answer(body, b"[1]") == expected


@pytest.mark.parametrize(
    ("path", "api"), [("/embed", TeiApi), ("/embed/x", TeiApi), ("/", NativeApi), ("", NativeApi), ("/v1/x", OpenAiApi)]
)
def test_errors_take_the_form_of_the_api_that_the_path_belongs_to(path: str, api: type) -> None:
    assert isinstance(api_of(path), api)


# Refusals


@pytest.mark.parametrize("value", [1, 1.5, True, {"text": "a"}])
@pytest.mark.parametrize("name", ["input", "inputs"])
def test_inputs_of_another_type_are_refused(name: str, value: object) -> None:
    assert refusal({name: value}) == f"{name}: must be a text, a list of texts, or a list of token ids"


@pytest.mark.parametrize("name", ["input", "inputs"])
def test_null_is_no_input(name: str) -> None:
    assert refusal({name: None}) == f"{name}: must not be null"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", 1], "inputs[1]: must be a text or a list of token ids"),
        (["a", None], "inputs[1]: must be a text or a list of token ids"),
        ([True], "inputs[0]: must be a text or a list of token ids"),
        ([1.0], "inputs[0]: must be a text or a list of token ids"),
        ([["a"]], f"inputs[0]: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
        ([[1, True]], f"inputs[0]: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
        ([[-1]], f"inputs[0]: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
        ([1, MAX_TOKEN_ID + 1], f"inputs: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
        ([1, "a"], f"inputs: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
    ],
)
def test_an_error_names_the_item_that_is_wrong(values: list[object], message: str) -> None:
    assert refusal({"inputs": values}) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1], []], "input[1]: must not be empty"),
        (["a", "", "b"], "input[1]: must not be empty"),
        (["a", "\ud800"], "input[1]: holds half of a surrogate pair, which is not a character"),
    ],
)
def test_an_item_of_the_short_form_that_is_empty_or_no_text_is_named(values: list[object], message: str) -> None:
    assert refusal({"input": values}) == message


def test_the_largest_token_id_is_accepted() -> None:
    assert load({"inputs": [0, MAX_TOKEN_ID]}).items == [b"[0,4294967295]"]


def test_an_empty_text_is_refused() -> None:
    assert refusal({"input": ""}) == "input: must not be empty"


@pytest.mark.parametrize("inputs", ["", [], [""], ["a", "", "b"], [[]], [[1], []]])
def test_an_empty_input_in_teis_body_is_what_tei_calls_empty(inputs: object) -> None:
    message = "Input validation error: `inputs` cannot be empty"
    assert refusal({"inputs": inputs}, 400) == message
    assert refusal({"inputs": inputs, "normalize": False, "x": 1}, 400) == message


@pytest.mark.parametrize("inputs", ["", [], ["a", ""]])
def test_an_empty_input_beside_a_field_of_the_wrong_type_is_no_teis_empty(inputs: object) -> None:
    message = refusal({"inputs": inputs, "normalize": "yes"})
    assert "must not be empty" in message
    assert "normalize: must be true or false" in message


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": "a\udfff"}, "input"),
        ({"input": "a", "prompt_name": "\ud800"}, "prompt_name"),
        ({"input": "a", "\ud800": 1}, '"\\ud800"'),
        ({"input": "a", "x": [{"y": "\ud800"}]}, '"x"'),
        ({"input": "a", "user": "\ud800"}, '"user"'),
    ],
)
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(body: dict[str, object], field: str) -> None:
    assert refusal(body).startswith(f"{field}: holds half of a surrogate pair")
    tei = {"inputs" if name == "input" else name: value for name, value in body.items()}
    field = field.replace("input", "inputs")
    assert refusal(tei, 400, "BadRequest").startswith(f"{field}: holds half of a surrogate pair")


def test_half_a_surrogate_pair_is_told_beside_what_else_is_wrong() -> None:
    message = refusal({"inputs": "\ud800", "normalize": "yes"}, 400, "BadRequest")
    assert "inputs: holds half" in message
    assert "normalize: must be" in message


def test_an_empty_list_in_the_short_form_is_empty_as_well() -> None:
    assert refusal({"input": []}, 400) == "`input` must not be empty"


@pytest.mark.parametrize(
    ("body", "status"), [({"input": "a"}, 400), ({"inputs": "a"}, 422), ({}, 400), ({"x": 1}, 400)]
)
def test_a_name_that_stands_twice_has_teis_status_in_teis_body(body: dict[str, object], status: int) -> None:
    assert ROUTES[0].duplicate_status(body) == status


@pytest.mark.parametrize("name", ["input", "inputs"])
@pytest.mark.parametrize("beside", [{}, {"normalize": False}])
@pytest.mark.parametrize("items", [["a"] * 1001, [None] * 1001, [[]] * 1001])
def test_items_are_counted_before_they_are_looked_at(name: str, beside: dict[str, object], items: list[object]) -> None:
    assert refusal({name: items, **beside}) == "batch size 1001 > maximum allowed batch size 1000"


@pytest.mark.parametrize("name", ["input", "inputs"])
def test_token_ids_are_one_item_however_many_they_are(name: str) -> None:
    assert len(load({name: [7] * 5000}).items) == 1
    assert len(load({name: ["a"] * 1000}).items) == 1000


@pytest.mark.parametrize("body", [{}, {"input": "a", "inputs": "a"}, {"text": "a"}])
def test_exactly_one_of_input_and_inputs_is_needed(body: dict[str, object]) -> None:
    assert refusal(body) == "give either `input` or `inputs`"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("normalize", "true", "must be true or false"),
        ("normalize", 1, "must be true or false"),
        ("normalize", None, "must not be null"),
        ("truncate", 0, "must be true or false"),
        ("truncation_direction", "up", "must be Left or Right"),
        ("truncation_direction", 1, "must be a text"),
        ("truncation_direction", None, "must not be null"),
        ("prompt_name", 1, "must be a text"),
        ("dimensions", 3.0, "must be an integer"),
        ("dimensions", "3", "must be an integer"),
        ("dimensions", True, "must be an integer"),
        ("dimensions", 0, "must be between 1 and 1000000"),
        ("dimensions", -1, "must be between 1 and 1000000"),
        ("dimensions", 10**40, "must be between 1 and 1000000"),
    ],
)
def test_options_have_strict_types_and_errors_name_them(name: str, value: object, message: str) -> None:
    assert message in (said := refusal({"input": "a", name: value}))
    assert said.startswith(f"{name}: ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refusal({"input": 1, "normalize": 1, "dimensions": "x"})
    assert all(f"{name}: " in message for name in ("input", "normalize", "dimensions"))


def test_options_are_kept_with_each_key_and_so_have_a_limit() -> None:
    said = ": with it, the options beside the inputs take more than 4096 bytes"
    assert refusal({"input": "a", "prompt_name": "p" * MAX_OPTION_BYTES}) == f"prompt_name{said}"
    assert refusal({"input": "a", "x": ["y"] * 2000}) == f'"x"{said}'
    assert refusal({"input": "a", "n" * 5000: 1}) == f'"{"n" * 80}"{said}'
    assert said in refusal({"input": "a"} | {str(number): 0 for number in range(2000)})


@pytest.mark.parametrize(("members", "characters"), [({}, 4090), ({"y": 1}, 4084), ({"normalize": False}, 4072)])
def test_options_up_to_the_limit_are_taken(members: dict[str, object], characters: int) -> None:
    assert options(**members, x="v" * characters).more[0] == ("x", b'"%b"' % (b"v" * characters))
    assert "take more than 4096 bytes" in refusal({"input": "a", **members, "x": "v" * (characters + 1)})


def test_options_nested_so_deeply_that_they_cannot_be_written_are_refused() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert refusal({"input": "a", "x": value}, 400, "BadRequest") == '"x": the JSON is nested too deeply'
