"""OpenAI's dialect: what is read out of the replies, and what is learned from them."""

from __future__ import annotations

import threading

import pytest

from batching import Answer
from batching.errors import UpstreamOverloaded, UpstreamProtocolError
from formats.slices import BadRowsError
from tests.support.fakes import KEY, items_of
from tests.upstream.dialects.openai_bench import BASE, asked_by, described, embed, refuse, reply_of
from upstream.dialects.dialect import AskAgain, Refusal, RefusalKind
from upstream.dialects.openai import OpenAiDialect

ROWS = b'{"data":[{"index":0,"embedding":[1,2]}],"usage":{"prompt_tokens":3}}'
BASE64_ROWS = b'{"data":[{"index":0,"embedding":"AACAPwAAAEA="}]}'
NO_BASE64 = b'{"error":{"message":"encoding_format: base64 is not supported"}}'


# Answers


def test_an_answer_has_vectors_dimension_and_tokens() -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(KEY, items_of("a"))
    assert dialect.answer(KEY, 1, reply_of(ROWS)) == Answer([b"[1,2]"], 2, tokens=3)
    assert dialect.answer(KEY, 1, reply_of(BASE64_ROWS)) == Answer([b'"AACAPwAAAEA="'], 2)


@pytest.mark.parametrize("body", [b"", b"[[1,2]]", b'{"data":[{"index":7,"embedding":[1]}]}', ROWS[:-1]])
def test_what_is_not_one_row_for_each_input_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        OpenAiDialect(BASE).answer(KEY, 1, reply_of(body))


def test_an_answer_of_which_some_rows_are_bad_tells_which() -> None:
    with pytest.raises(BadRowsError) as raised:
        OpenAiDialect(BASE).answer(KEY, 1, reply_of(b'{"data":[{"index":0,"embedding":null}]}'))
    assert raised.value.why == {0: "null"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"message":"out of memory","code":500}}', "out of memory"),
        (b'{"error":"Unexpected endpoint or method."}', "Unexpected endpoint or method."),
        (b'{"vectors":null,"base_resp":{"status_code":1002,"status_msg":"no such model"}}', "no such model"),
        (b'{"detail":"no"}', "no"),
    ],
)
def test_an_error_with_200_is_none_and_its_words_are_told_for_one_input_only(body: bytes, words: str) -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(KEY, items_of("a"))
    with pytest.raises(UpstreamProtocolError) as raised:
        dialect.answer(KEY, 1, reply_of(body))
    assert raised.value.message == f"the upstream answered 200 with an error: {words}"
    with pytest.raises(UpstreamProtocolError) as raised:
        dialect.answer(KEY, 2, reply_of(body))
    assert (raised.value.message, raised.value.reason) == ("the upstream answered 200 with an error", words)


@pytest.mark.parametrize("words", ["rate limit exceeded", "Too Many Requests", "request throttled", "server is busy"])
def test_a_200_that_says_that_there_is_too_much_to_do_is_the_429_that_it_stands_for(words: str) -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(KEY, items_of("a"))
    body = b'{"vectors":null,"base_resp":{"status_code":1002,"status_msg":"%b"}}' % words.encode()
    with pytest.raises(UpstreamOverloaded):
        dialect.answer(KEY, 1, reply_of(body))


# What it learns of the encoding


def test_a_server_that_fails_over_base64_is_asked_for_numbers_once() -> None:
    dialect = OpenAiDialect(BASE)
    assert asked_by(dialect)["encoding_format"] == "base64"
    with pytest.raises(AskAgain):
        dialect.refusal(reply_of(b"", 500))
    assert asked_by(dialect)["encoding_format"] == "float"
    refuse(dialect, b"", 500)
    assert asked_by(dialect)["encoding_format"] == "base64"


def test_each_refusal_of_the_encoding_leads_to_the_next_one() -> None:
    dialect = OpenAiDialect(BASE)
    seen = [asked_by(dialect).get("encoding_format")]
    for _ in range(2):
        with pytest.raises(AskAgain):
            refuse(
                dialect, b'{"detail":[{"loc":["body","encoding_format"],"msg":"Extra inputs are not permitted"}]}', 422
            )
        seen.append(asked_by(dialect).get("encoding_format"))
    assert seen == ["base64", "float", None]
    assert refuse(dialect, NO_BASE64).kind is RefusalKind.INPUTS


def test_data_that_is_empty_for_base64_leads_to_numbers() -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(KEY, items_of("a"))
    with pytest.raises(AskAgain):
        dialect.answer(KEY, 1, reply_of(b'{"data":[]}'))
    assert asked_by(dialect)["encoding_format"] == "float"
    assert dialect.answer(KEY, 1, reply_of(ROWS)).results == [b"[1,2]"]
    assert asked_by(dialect)["encoding_format"] == "float"


def test_a_refusal_that_says_nothing_of_it_is_tried_once_with_numbers() -> None:
    dialect = OpenAiDialect(BASE)
    with pytest.raises(AskAgain):
        refuse(dialect, b'{"error":{"message":"bad request"}}')
    assert refuse(dialect, b'{"error":{"message":"bad request"}}').text == "bad request"
    # It was not the encoding, and is not tried for the next bad input.
    assert asked_by(dialect)["encoding_format"] == "base64"
    assert refuse(dialect, b'{"error":{"message":"bad request"}}').text == "bad request"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"error":{"message":"Too many inputs in request. Max is 512."}}', 400),
        (b'{"error":{"message":"This model\'s maximum context length is 256 tokens."}}', 400),
        (b'{"message":"Invalid model: x","type":"invalid_model"}', 400),
        (b"", 413),
        (b"", 502),
        (b"", 503),
        (b"", 429),
        (b"", 401),
    ],
)
def test_a_refusal_for_another_reason_is_not_tried_again(body: bytes, status: int) -> None:
    refuse(OpenAiDialect(BASE), body, status)


def test_a_model_that_has_answered_base64_goes_on_being_asked_for_it() -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(KEY, items_of("a"))
    dialect.answer(KEY, 1, reply_of(BASE64_ROWS))
    # An input may be quoted here.
    assert refuse(dialect, NO_BASE64).kind is RefusalKind.INPUTS
    assert asked_by(dialect)["encoding_format"] == "base64"


def test_each_model_is_learned_by_itself() -> None:
    dialect = OpenAiDialect(BASE)
    with pytest.raises(AskAgain):
        refuse(dialect, NO_BASE64, key=embed("numbers"))
    assert asked_by(dialect, embed("numbers"))["encoding_format"] == "float"
    assert asked_by(dialect, embed("other"))["encoding_format"] == "base64"


def test_a_late_refusal_of_what_is_known_by_now_is_asked_again_and_teaches_nothing() -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(KEY, items_of("a"))

    def learn() -> None:
        with pytest.raises(AskAgain):
            refuse(dialect, NO_BASE64)
        with pytest.raises(AskAgain):
            refuse(dialect, b'{"detail":"Not Found"}', 404)

    thread = threading.Thread(target=learn)
    thread.start()
    thread.join()
    with pytest.raises(AskAgain):
        dialect.refusal(reply_of(NO_BASE64, 400))
    assert asked_by(dialect)["encoding_format"] == "float"


def test_a_server_that_has_come_up_again_is_asked_for_base64_again() -> None:
    dialect = OpenAiDialect(BASE)
    with pytest.raises(AskAgain):
        refuse(dialect, NO_BASE64)
    described(dialect)
    assert asked_by(dialect)["encoding_format"] == "base64"


def test_a_host_that_is_known_to_refuse_base64_is_asked_for_numbers_at_once() -> None:
    dialect = OpenAiDialect("https://generativelanguage.googleapis.com/v1beta/openai")
    assert asked_by(dialect)["encoding_format"] == "float"


# What it learns of the path


def test_an_unknown_path_leads_to_the_other_one() -> None:
    dialect = OpenAiDialect(BASE)
    with pytest.raises(AskAgain):
        refuse(dialect, b'{"detail":"Not Found"}', 404)
    assert dialect.request(KEY, items_of("a")).path == "/embeddings"
    assert dialect.answer(KEY, 1, reply_of(ROWS)).results == [b"[1,2]"]


def test_where_no_path_is_known_the_first_is_told_and_no_more_is_tried() -> None:
    dialect = OpenAiDialect(BASE)
    with pytest.raises(AskAgain):
        refuse(dialect, b"", 404)
    assert refuse(dialect, b"", 404).kind is RefusalKind.MISCONFIGURED
    assert refuse(dialect, b"", 404).kind is RefusalKind.MISCONFIGURED
    assert dialect.request(KEY, items_of("a")).path == "/v1/embeddings"


def test_a_late_404_of_a_path_that_is_left_says_nothing_of_the_model() -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(embed("m"), items_of("a"))

    def learn() -> None:
        with pytest.raises(AskAgain):
            refuse(dialect, b"", 404)
        dialect.request(KEY, items_of("a"))
        dialect.answer(KEY, 1, reply_of(ROWS))

    thread = threading.Thread(target=learn)
    thread.start()
    thread.join()
    with pytest.raises(AskAgain):
        dialect.refusal(reply_of(b"", 404))


def test_a_path_that_is_a_setting_is_the_only_one() -> None:
    dialect = OpenAiDialect(BASE, path="/api/embed")
    assert dialect.request(KEY, items_of("a")).path == "/api/embed"
    assert refuse(dialect, b"", 404).kind is RefusalKind.MISCONFIGURED


# What is wrong with the model

UNKNOWN_MODEL = b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}'


def test_an_unknown_model_is_the_clients_error_where_it_chooses() -> None:
    said = Refusal(RefusalKind.INPUTS, "The model `x` does not exist.")
    assert refuse(OpenAiDialect(BASE), UNKNOWN_MODEL, 404, embed("x")) == said
    litellm = b'{"error":{"message":"/embeddings: Invalid model name passed in model=None. Call `/v1/models`."}}'
    assert refuse(OpenAiDialect(BASE), litellm, 400).kind is RefusalKind.INPUTS


def test_an_unknown_model_is_a_mistake_of_configuration_where_a_setting_chooses() -> None:
    assert refuse(OpenAiDialect(BASE, "x"), UNKNOWN_MODEL, 404).kind is RefusalKind.MISCONFIGURED


def test_a_404_without_words_is_the_models_where_a_client_names_one_and_the_path_has_answered() -> None:
    dialect = OpenAiDialect(BASE)
    dialect.request(KEY, items_of("a"))
    dialect.answer(KEY, 1, reply_of(ROWS))
    assert refuse(dialect, b"", 404, embed("x")).kind is RefusalKind.INPUTS
    assert refuse(dialect, b"", 404).kind is RefusalKind.MISCONFIGURED


def test_a_server_that_no_longer_knows_its_only_model_is_asked_without_it() -> None:
    dialect = OpenAiDialect(BASE)
    described(dialect, {"/v1/models": ["old"]})
    assert asked_by(dialect)["model"] == "old"
    with pytest.raises(AskAgain):
        refuse(dialect, UNKNOWN_MODEL, 404)
    assert "model" not in asked_by(dialect)
    assert refuse(dialect, UNKNOWN_MODEL, 404).kind is RefusalKind.INPUTS
