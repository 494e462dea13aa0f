"""An endpoint in front of every kind of server: one of another API is a mistake of configuration, and no outage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamFailed, UpstreamMisconfigured, UpstreamRejected
from tests.support.upstream import Poison, ScriptedUpstream, Trouble, faults, forms, vector_for
from tests.upstream.endpoint_bench import batch_of

if TYPE_CHECKING:
    from tests.support.upstream import Form
    from tests.support.upstream.poison import Way
    from tests.upstream.endpoint_bench import Connect

SPOKEN = [forms.TeiForm(), forms.PlainForm()]
OTHERS = [form for form in forms.ALL if form.path != "/embed"]


def names(form: Form) -> str:
    return type(form).__name__


def is_poisonous(text: object) -> bool:
    return text == "poison"


@pytest.mark.parametrize("form", SPOKEN, ids=names)
def test_servers_of_teis_body_are_spoken_to(form: Form, connect: Connect) -> None:
    with ScriptedUpstream(form) as upstream:
        endpoint = connect(upstream)
        assert endpoint.health(5.0).is_well
        assert endpoint.send(batch_of("a", "b")).results == [vector_for("a"), vector_for("b")]


@pytest.mark.parametrize("form", OTHERS, ids=names)
def test_a_server_of_another_api_is_a_mistake_of_configuration(form: Form, connect: Connect) -> None:
    with ScriptedUpstream(form) as upstream, pytest.raises(UpstreamMisconfigured) as raised:
        connect(upstream).send(batch_of("a"))
    assert "404" in raised.value.reason


@pytest.mark.parametrize("form", SPOKEN, ids=names)
@pytest.mark.parametrize("way", ["null", "nan", "infinity", "short", "empty"])
def test_a_bad_row_costs_its_mates_nothing(form: Form, way: Way, connect: Connect) -> None:
    with ScriptedUpstream(form, Poison(is_poisonous, way)) as upstream:
        answer = connect(upstream).send(batch_of("a", "poison", "b"))
    assert list(answer.bad) == [1]
    assert [answer.results[at] for at in (0, 2)] == [vector_for("a"), vector_for("b")]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (forms.TeiForm(), "Backend error: cannot embed this"),
        (forms.PlainForm(), "Internal Server Error"),
        # Whatever the server: its words are read.
        *[(form, "cannot embed this") for form in (forms.LlamaForm(), forms.KserveForm(), forms.MlserverForm())],
    ],
    ids=lambda each: names(each) if not isinstance(each, str) else "",
)
def test_a_model_that_throws_is_told_in_the_servers_words_to_the_input_that_is_alone(
    form: Form, told: str, connect: Connect
) -> None:
    upstream = ScriptedUpstream(forms.TeiForm(), lambda exchange: exchange.play(form.failure("cannot embed this")))
    with upstream, pytest.raises(UpstreamFailed, match=told):
        connect(upstream).send(batch_of("poison"))


def test_several_inputs_are_told_only_the_status(connect: Connect) -> None:
    upstream = ScriptedUpstream(forms.TeiForm(), Poison(is_poisonous, "own"))
    with upstream, pytest.raises(UpstreamFailed) as raised:
        connect(upstream).send(batch_of("a", "poison"))
    assert raised.value.message == "the upstream answered with status 424"
    assert "cannot embed this" in raised.value.words


def test_the_positions_of_the_upstreams_call_are_told_to_no_client(connect: Connect) -> None:
    upstream = ScriptedUpstream(
        forms.TeiForm(), faults.refusal(422, "inputs[0]: input 0 must have less than 256 tokens")
    )
    with upstream, pytest.raises(UpstreamRejected) as raised:
        connect(upstream).send(batch_of("a"))
    assert raised.value.message == "inputs: input must have less than 256 tokens"


def test_a_wrong_key_is_a_mistake_of_configuration(connect: Connect) -> None:
    upstream = ScriptedUpstream(forms.TeiForm(), faults.only_calls(faults.trouble(Trouble.WRONG_KEY)))
    with upstream, pytest.raises(UpstreamMisconfigured):
        connect(upstream).send(batch_of("a"))
