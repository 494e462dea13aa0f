"""What a server speaks is found by what it says of itself; each kind that was recorded is found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.upstream.forms import (
    Form,
    InfinityForm,
    KserveForm,
    LitellmForm,
    LlamaForm,
    MlserverForm,
    PlainForm,
    TeiForm,
    VllmForm,
    proper_reply,
)
from tests.upstream.dialects.test_openapi import RECORDED, TEXT, TEXTS, document
from upstream.detection import SETTINGS, UNKNOWN, Detector, Found, Wanted, as_set
from upstream.http_reply import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_FOUND = Reply(404, {}, b"")


class Server:
    """Answers with these pages and remembers what it was asked; ``calls``: what a POST to a path is answered."""

    def __init__(
        self,
        pages: Mapping[str, Reply | None] | None = None,
        calls: Mapping[str, Reply | None] | None = None,
        *,
        otherwise: Reply | None = NOT_FOUND,
    ) -> None:
        self._pages, self._calls, self._otherwise = dict(pages or {}), dict(calls or {}), otherwise
        self.asked: list[str] = []

    def get(self, path: str) -> Reply | None:
        self.asked.append(path)
        return self._pages.get(path, self._otherwise)

    def post(self, path: str, body: bytes) -> Reply | None:
        self.asked.append(f"POST {path} {body.decode()}")
        return self._calls.get(path, self._otherwise)

    def detector(self, url: str = "http://u", **wanted: str) -> Detector:
        return Detector(self.get, self.post, Wanted(**wanted), url=url)


class Recorded(Server):
    """A server of a form that was recorded."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form

    def get(self, path: str) -> Reply | None:
        self.asked.append(path)
        return self._read("GET", path, b"")

    def post(self, path: str, body: bytes) -> Reply | None:
        self.asked.append(f"POST {path} {body.decode()}")
        return self._read("POST", path, body)

    def _read(self, method: str, path: str, body: bytes) -> Reply:
        status, content, *_ = vars(proper_reply(self._form, method, path, body)).values()
        return Reply(status, {}, content)


def page(value: Any, status: int = 200) -> Reply:
    return Reply(status, {}, json.dumps(value).encode())


# What was recorded


@pytest.mark.parametrize(
    ("form", "found"),
    [
        (TeiForm(), Found("tei", "GET /info tells scripted")),
        (TeiForm({"model_type": {"reranker": {}}}), Found("tei", "GET /info answers")),
        (TeiForm({"max_client_batch_size": 32}), Found("tei", "GET /info answers")),
        (InfinityForm(), Found("openai", "GET /models lists minilm", "/embeddings")),
        (VllmForm(), Found("openai", "GET /v1/models lists minilm")),
        (LlamaForm(), Found("openai", "GET /v1/models lists minilm")),
        (LitellmForm(), Found("openai", "GET /v1/models lists minilm")),
        (KserveForm(), Found("kserve", "GET /v1/models lists minilm", models=("minilm",))),
        (PlainForm(), Found("tei", "it says nothing of itself", is_guess=True)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_server_is_found_by_what_it_says_of_itself(form: Form, found: Found) -> None:
    server = Recorded(form)
    assert server.detector().find() == found
    assert not [each for each in server.asked if each.startswith("POST")]


def test_kserves_second_protocol_is_told_to_be_none_that_is_spoken() -> None:
    found = Recorded(MlserverForm()).detector().find()
    assert found is not None
    assert (found.api, found.why) == ("kserve", "GET /v2 tells mlserver")
    assert found.problem.startswith("it speaks KServe v2 only")


def test_the_plain_server_is_found_by_its_document() -> None:
    server = Server({"/openapi.json": page(RECORDED), "/health": page({})})
    why = "GET /openapi.json documents POST /embed with 'inputs'"
    assert server.detector().find() == Found("plain", why, "/embed", "inputs")


# Other servers of these kinds


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ({"/v1/models": {"object": "list", "data": []}}, Found("openai", "GET /v1/models answers")),
        ({"/v1/models": {"data": [{"id": "a"}]}}, Found("openai", "GET /v1/models lists a")),
        (
            {"/v1/models": {"object": "list", "data": [{"id": each} for each in "abcde"]}},
            Found("openai", "GET /v1/models lists a, b, c and 2 more"),
        ),
        ({"/v1/models": {"models": ["a", "b"]}}, Found("kserve", "GET /v1/models lists a, b", models=("a", "b"))),
        (
            {"/api/tags": {"models": [{"name": "all-minilm:latest"}]}},
            Found("openai", "GET /api/tags lists all-minilm:latest, as Ollama's", "/v1/embeddings"),
        ),
        (
            {"/openapi.json": document(v2_embeddings={"input": dict(TEXTS), "model": dict(TEXT)})},
            Found("openai", "GET /openapi.json documents POST /v2/embeddings with 'input'", "/v2/embeddings"),
        ),
        (
            {"/openapi.json": document(encode={"texts": dict(TEXTS)})},
            Found("plain", "GET /openapi.json documents POST /encode with 'texts'", "/encode", "texts"),
        ),
        # A page that is there for another purpose.
        ({"/info": {"version": "1"}, "/v1/models": {"models": [{"name": "x"}]}, "/v2": {}}, None),
    ],
)
def test_servers_that_answer_likewise_are_found(pages: dict[str, Any], found: Found | None) -> None:
    server = Server({path: page(value) for path, value in pages.items()})
    assert server.detector().find() == (found or Found("tei", "it says nothing of itself", is_guess=True))


def test_a_server_with_one_page_for_all_paths_says_nothing() -> None:
    for body in (b"", b"{}", b"[]", b"<html>", b'"ok"'):
        found = Server(otherwise=Reply(200, {}, body)).detector().find()
        assert found == Found("tei", "it says nothing of itself", is_guess=True)


def test_a_server_that_only_names_its_model_is_taken_for_a_tei_where_its_document_says_nothing_else() -> None:
    info = page({"model_id": "mine", "version": 1})
    assert Server({"/info": info}).detector().find() == Found("tei", "GET /info tells mine")
    documented = Server({"/info": info, "/openapi.json": page(document(embed={"texts": dict(TEXTS)}))})
    found = documented.detector().find()
    assert found is not None
    assert (found.api, found.input_field) == ("plain", "texts")


def test_the_words_of_a_server_are_told_in_one_safe_line() -> None:
    server = Server({"/info": page({"model_id": "a\n\x1b[31mb" + "c" * 500, "model_type": {}})})
    found = server.detector().find()
    assert found is not None
    assert found.why.isprintable()
    assert len(found.why) < 120


# Where the base URL leads


@pytest.mark.parametrize(
    ("url", "listed", "path"),
    [
        ("http://u", "/v1/models", ""),
        ("http://u", "/models", "/embeddings"),
        ("http://u/v1", "/models", ""),
        ("http://u/v1beta/openai", "/models", ""),
        ("http://u/llm", "/models", ""),
        ("http://u/llm", "/v1/models", "/v1/embeddings"),
    ],
)
def test_calls_go_beside_the_list_of_models(url: str, listed: str, path: str) -> None:
    server = Server({listed: page({"object": "list", "data": [{"id": "m"}]})})
    assert server.detector(url).find() == Found("openai", f"GET {listed} lists m", path)


def test_below_a_base_that_ends_with_a_version_no_other_is_asked_for() -> None:
    server = Server()
    found = server.detector("http://u/v1").find()
    assert found == Found("openai", "its address is that of OpenAI's API", is_guess=True)
    assert "/v1/models" not in server.asked


def test_a_hosted_server_is_asked_for_its_models_and_sent_no_calls_that_cost() -> None:
    server = Server()
    url = "https://a.openai.azure.com/openai/deployments/d?api-version=2024-10-21"
    found = server.detector(url).find(may_call=True)
    assert found == Found("openai", "its address is that of OpenAI's API")
    assert server.asked == ["/models"]


# What cannot be used


def test_a_documented_route_that_takes_one_text_is_refused_with_that_reason() -> None:
    found = Server({"/openapi.json": page(document(embed={"text": dict(TEXT)}))}).detector().find()
    assert found is not None
    assert found.why == "GET /openapi.json documents POST /embed with 'text', a text"
    assert found.problem == "it takes one text a call and no list, so nothing can be batched"


def test_a_member_that_has_to_be_there_is_asked_for_unless_the_settings_have_it() -> None:
    server = Server({"/openapi.json": page(document(embed={"texts": dict(TEXTS), "model": dict(TEXT)}))})
    found = server.detector().find()
    assert found is not None
    assert found.problem == "POST /embed wants 'model' as well: set upstream_extra"
    found = server.detector(extra='{"model":"m"}').find()
    assert found is not None
    assert found.problem == ""


# Nothing to go by yet


def test_a_server_that_does_not_answer_is_asked_no_more_for_now() -> None:
    server = Server(otherwise=None)
    detector = server.detector()
    assert detector.find() is None
    assert detector.reason == "it does not answer"
    assert server.asked == ["/info"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_not_guessed_at(status: int) -> None:
    detector = Server({"/info": Reply(status, {}, b"")}).detector()
    assert detector.find() is None
    assert detector.reason == f"GET /info is answered with status {status}"
    assert detector.find(may_call=True) is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_the_reason(status: int) -> None:
    detector = Server(otherwise=Reply(status, {}, b"")).detector()
    assert detector.find() is None
    assert detector.reason == f"it refuses the key: GET /info is answered with status {status}"


def test_a_server_that_guards_some_pages_is_found_by_the_others() -> None:
    pages = {"/info": Reply(401, {}, b""), "/v1/models": page({"models": ["m"]})}
    assert Server(pages).detector().find() == Found("kserve", "GET /v1/models lists m", models=("m",))


def test_a_server_is_found_when_it_answers_later() -> None:
    server = Server(otherwise=None)
    detector = server.detector()
    assert detector.find() is None
    server._otherwise, server._pages = NOT_FOUND, {"/info": page({"model_type": {}})}
    found = detector.find()
    assert found is not None
    assert found.api == "tei"


# Settings


@pytest.mark.parametrize("api", ["tei", "openai", "kserve"])
def test_what_the_settings_say_is_not_asked(api: str) -> None:
    assert as_set(Wanted(api)) == Found(api, "upstream_api says so")


def test_a_path_of_the_settings_is_that_of_openais_calls() -> None:
    assert as_set(Wanted("openai", path="/emb")) == Found("openai", "upstream_api says so", "/emb")
    pages = {"/v1/models": page({"object": "list", "data": []})}
    assert Server(pages).detector(path="/emb").find() == Found("openai", "GET /v1/models answers", "/emb")


@pytest.mark.parametrize("api", ["auto", "plain"])
def test_other_settings_leave_something_to_ask(api: str) -> None:
    assert as_set(Wanted(api)) is None


def test_a_plain_server_is_asked_for_its_document_and_sent_one_call() -> None:
    server = Server({"/info": page({"model_type": {}})})
    detector = server.detector(api="plain", path="/encode", input_field="texts", extra='{"m":1}')
    problem = f"POST /encode is answered with status 404; {SETTINGS}"
    assert detector.find() == Found("plain", "upstream_api says so", "/encode", "texts", problem=problem)
    assert server.asked == ["/openapi.json", 'POST /encode {"texts":["ping"],"m":1}']


def test_a_plain_server_that_takes_one_text_a_call_is_refused_before_it_is_ready() -> None:
    found = Server(calls={"/embed": page([0.1, 0.2])}).detector(api="plain").find()
    assert found is not None
    assert "one text a call" in found.problem


def test_settings_choose_among_the_routes_of_a_document() -> None:
    routes = page(document(embed={"inputs": dict(TEXTS)}, v2_embed={"texts": dict(TEXTS)}))
    found = Server({"/openapi.json": routes}).detector(api="plain", path="/v2/embed").find()
    assert found is not None
    assert (found.path, found.input_field) == ("/v2/embed", "texts")
    found = Server({"/openapi.json": routes}).detector(api="plain", path="/v3", input_field="x").find()
    problem = f"POST /v3 is answered with status 404; {SETTINGS}"
    assert found == Found("plain", "upstream_api says so", "/v3", "x", problem=problem)


def test_settings_of_a_plain_server_are_a_better_guess_than_none() -> None:
    found = Server().detector(input_field="texts", output_field="data").find()
    assert found == Found("plain", "by its settings", "/embed", "texts", "data", is_guess=True)


def test_a_model_that_is_named_is_looked_for_where_none_are_listed() -> None:
    serving = Server({"/v1/models/a%2Fb": page({"model_version_status": [{"state": "AVAILABLE"}]})})
    assert serving.detector(model="a/b").find() == Found("kserve", "GET /v1/models/a%2Fb tells that it is served")


# By calls


def test_a_server_that_says_nothing_is_tried_where_calls_may_be_made() -> None:
    server = Recorded(PlainForm())
    found = server.detector().find(may_call=True)
    assert found == Found("tei", "POST /embed with 'inputs' is answered with vectors")
    assert [each for each in server.asked if each.startswith("POST")] == ['POST /embed {"inputs":["ping"]}']
    found = Recorded(PlainForm()).detector(api="plain").find(may_call=True)
    assert found == Found("plain", "POST /embed with 'inputs' is answered with vectors", "/embed", "inputs")


def test_what_a_call_shows_is_kept() -> None:
    server = Server(calls={"/embed": page({"embeddings": [[1, 2]]})})
    why = "POST /embed with 'inputs' is answered with vectors"
    assert server.detector().find(may_call=True) == Found("plain", why, "/embed", "inputs", "embeddings")
    assert server.detector(output_field="x").find(may_call=True) == Found("plain", why, "/embed", "inputs", "x")


def test_openais_data_shows_openais_api() -> None:
    server = Server(calls={"/v1/embeddings": page({"data": [{"index": 0, "embedding": [1, 2]}]})})
    why = "POST /v1/embeddings with 'input' is answered with vectors"
    assert server.detector().find(may_call=True) == Found("openai", why, "/v1/embeddings")


def test_where_no_usual_path_takes_texts_nothing_is_found() -> None:
    detector = Server().detector()
    assert detector.find(may_call=True) is None
    assert detector.reason == UNKNOWN


def test_a_plain_server_that_knows_no_usual_path_is_not_usable_as_set() -> None:
    found = Server().detector(api="plain").find(may_call=True)
    assert found == Found("plain", "upstream_api says so", "/embed", "inputs", problem=UNKNOWN)


def test_a_plain_server_in_trouble_is_taken_as_set() -> None:
    detector = Server(calls={"/embed": page({}, 500)}).detector(api="plain", path="/embed", input_field="inputs")
    assert detector.find() == Found("plain", "upstream_api says so", "/embed", "inputs")


def test_a_wrong_output_member_is_a_mistake_of_the_settings() -> None:
    calls = {"/embed": page({"embeddings": [[1, 2]]})}
    for pages in ({}, {"/openapi.json": page(document(embed={"inputs": dict(TEXTS)}))}):
        detector = Server(pages, calls=calls).detector(api="plain", path="/embed", output_field="vectors")
        found = detector.find()
        assert found is not None
        assert "'vectors'" in found.problem
        assert SETTINGS in found.problem


def test_small_calls_that_are_answered_and_none_well_settle_it() -> None:
    for reply, is_settled in ((page({}, 422), True), (page({}, 500), False), (page({}, 401), False)):
        detector = Server(calls={"/embed": reply}).detector()
        assert detector.find(may_call=True) is None
        assert detector.is_settled is is_settled
