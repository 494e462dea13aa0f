"""OpenAI's dialect in front of each server that has the route: infinity to OpenAI, by an endpoint over a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from batching import BatchKey, Task
from batching.errors import UpstreamFailed, UpstreamRejected
from formats.floats import as_base64
from tests.support.upstream import Poison, ScriptedUpstream, Trouble, faults, forms, proper_reply, vector_for
from tests.support.upstream.forms import hosted
from tests.upstream.endpoint_bench import batch_of
from upstream.dialects.openai import OpenAiDialect

if TYPE_CHECKING:
    from tests.support.upstream import Form
    from tests.support.upstream.poison import Way
    from tests.upstream.endpoint_bench import Connect
    from upstream.endpoint import Endpoint


class Server(NamedTuple):
    """One kind of server, and what the dialect finds there."""

    form: Form
    #: Behind host and port.
    base: str = ""
    #: The paths that are asked for two calls, with what the dialect learns from the first.
    paths: tuple[str, ...] = ("/v1/embeddings", "/v1/embeddings")
    answers_base64: bool = True
    only_model: str | None = "minilm"
    tokens: int | None = 7
    most_items: int | None = None


SERVERS = [
    Server(forms.InfinityForm(), paths=("/v1/embeddings", "/embeddings", "/embeddings"), tokens=22, most_items=2048),
    Server(forms.InfinityForm(), "/prefix", ("/prefix/embeddings", "/prefix/embeddings"), tokens=22, most_items=2048),
    Server(forms.VllmForm()),
    Server(forms.VllmForm(), "/v1"),
    Server(forms.VllmForm(), "/prefix", ("/prefix/embeddings", "/prefix/v1/embeddings", "/prefix/v1/embeddings")),
    Server(forms.LlamaForm()),
    Server(forms.LitellmForm()),
    Server(forms.TeiOpenAiForm(), answers_base64=False, only_model=None),
    Server(hosted.HostedForm(), "/v1", only_model=None),
    Server(
        hosted.AzureForm(), "/openai/deployments/small", ("/openai/deployments/small/embeddings",) * 2, only_model=None
    ),
    Server(hosted.OllamaForm(), "/v1", answers_base64=False, only_model="all-minilm:latest"),
    Server(hosted.LmStudioForm(), "/v1", answers_base64=False, only_model=None),
    Server(hosted.MistralForm(), "/v1", only_model=None),
    Server(hosted.VoyageForm(), "/v1", only_model=None),
    Server(hosted.JinaForm(), "/v1", answers_base64=False, only_model=None),
    Server(hosted.GeminiForm(), "/v1beta/openai", ("/v1beta/openai/embeddings",) * 2, False, None, None),
]


def names(server: Server) -> str:
    return f"{type(server.form).__name__} at {server.base or '/'}"


@pytest.mark.parametrize("server", SERVERS, ids=names)
def test_each_server_answers_each_input_its_vector(server: Server, connect: Connect) -> None:
    with ScriptedUpstream(server.form) as upstream:
        url = upstream.url + server.base
        endpoint = connect(url, dialect=OpenAiDialect(url))
        for _ in range(2):
            answer = endpoint.send(batch_of("a", "b", "c"))
            assert list(map(as_base64, answer.results)) == [as_base64(vector_for(text)) for text in ("a", "b", "c")]
            assert {result[:1] for result in answer.results} == {b'"' if server.answers_base64 else b"["}
            assert (answer.dimension, answer.tokens) == (8, server.tokens)
    assert tuple(request.path for request in upstream.requests) == server.paths
    assert {call.options["encoding_format"] for call in upstream.calls} == {"base64"}


@pytest.mark.parametrize("server", SERVERS, ids=names)
def test_each_server_is_found_well_and_tells_its_only_model(server: Server, connect: Connect) -> None:
    with ScriptedUpstream(server.form) as upstream:
        url = upstream.url + server.base
        endpoint = connect(url, dialect=OpenAiDialect(url))
        health = endpoint.health(5.0)
        assert health.is_well or health.is_unknown
        if health.is_unknown:
            assert endpoint.try_out(5.0).is_well
        said = endpoint.info(5.0)
        assert (said and said.model_id) == server.only_model
        assert (said and said.max_client_batch_size) == server.most_items
        endpoint.send(batch_of("a"))
    assert upstream.calls[-1].options.get("model") == server.only_model
    # What the list of models has told of the path saves the call that would have found it out.
    assert [call.request.path for call in upstream.calls][-1] == server.paths[-1]


@pytest.mark.parametrize(
    ("form", "base"),
    [
        (forms.VllmForm(), ""),
        (forms.LitellmForm(), ""),
        (hosted.HostedForm(), "/v1"),
        (hosted.OllamaForm(), "/v1"),
        (hosted.MistralForm(), "/v1"),
        (hosted.VoyageForm(), "/v1"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_model_that_the_server_does_not_know_is_its_clients_error_and_costs_one_call(
    form: Form, base: str, connect: Connect
) -> None:
    trouble = form.trouble(Trouble.UNKNOWN_MODEL)
    assert trouble is not None
    with ScriptedUpstream(form) as upstream:
        endpoint = connect(upstream.url + base, dialect=OpenAiDialect(upstream.url + base))
        endpoint.send(batch_of("a"))
        upstream.calm()
        upstream.script(faults.answer(trouble.body, trouble.status))
        with pytest.raises(UpstreamRejected) as raised:
            endpoint.send(batch_of("a", key=BatchKey(Task.EMBED, model="no-such-model")))
        assert len(upstream.calls) == 1
    assert 400 <= raised.value.status < 500
    assert "no-such-model" in raised.value.message


def test_a_query_of_the_address_stands_behind_each_path(connect: Connect) -> None:
    with ScriptedUpstream(hosted.AzureForm()) as upstream:
        url = upstream.url + "/openai/deployments/small?api-version=2024-10-21"
        endpoint: Endpoint = connect(url, dialect=OpenAiDialect(url))
        endpoint.send(batch_of("a", key=BatchKey(Task.EMBED)))
    assert [each.path for each in upstream.requests] == ["/openai/deployments/small/embeddings?api-version=2024-10-21"]
    assert "model" not in upstream.calls[0].options


def test_what_a_client_is_given_are_the_servers_own_characters(connect: Connect) -> None:
    with ScriptedUpstream(forms.VllmForm()) as upstream:
        endpoint = connect(upstream.url, dialect=OpenAiDialect(upstream.url))
        (result,) = endpoint.send(batch_of("a")).results
        assert result in proper_reply(upstream.form, "POST", "/v1/embeddings", upstream.requests[-1].body).body


def test_a_server_that_refuses_base64_is_asked_for_numbers_from_then_on(connect: Connect) -> None:
    refusal = b'{"object":"error","message":"base64 encoding is not currently supported","code":400}'
    with ScriptedUpstream(forms.VllmForm()) as upstream:
        endpoint = connect(upstream.url, dialect=OpenAiDialect(upstream.url))
        upstream.script(faults.answer(refusal, 400))
        for _ in range(2):
            assert endpoint.send(batch_of("a", "b")).results == [vector_for("a"), vector_for("b")]
    assert [call.options["encoding_format"] for call in upstream.calls] == ["base64", "float", "float"]


def test_an_error_with_200_is_told_to_the_client_to_whom_all_inputs_belong(connect: Connect) -> None:
    said = b'{"error":{"message":"provider is out of memory","code":502}}'
    with ScriptedUpstream(forms.VllmForm()) as upstream:
        endpoint = connect(upstream.url, dialect=OpenAiDialect(upstream.url))
        upstream.script(faults.answer(said), faults.answer(said))
        with pytest.raises(UpstreamFailed, match="provider is out of memory"):
            endpoint.send(batch_of("a"))
        with pytest.raises(UpstreamFailed) as raised:
            endpoint.send(batch_of("a", "b"))
    assert "memory" not in raised.value.message


@pytest.mark.parametrize("way", ["null", "nan", "infinity", "short", "empty"])
def test_a_bad_row_costs_its_mates_nothing(way: Way, connect: Connect) -> None:
    poison = Poison(lambda text: text == "poison", way)
    with ScriptedUpstream(forms.VllmForm(), poison) as upstream:
        answer = connect(upstream.url, dialect=OpenAiDialect(upstream.url)).send(batch_of("a", "poison", "b"))
    assert list(answer.bad) == [1]
    assert [answer.results[at] for at in (0, 2)] == [vector_for("a"), vector_for("b")]
