"""Each form reads calls, and answers them as its server was recorded."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.upstream import forms, proper_reply
from tests.support.upstream.forms import Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.upstream.forms import Form

EACH = pytest.mark.parametrize("form", forms.ALL, ids=lambda form: type(form).__name__)


def call_of(form: Form, texts: Sequence[str]) -> bytes:
    """Return the body of a call for these texts."""
    if isinstance(form, forms.MlserverForm | forms.TritonForm):
        shape = [len(texts), 1] if isinstance(form, forms.TritonForm) else [len(texts)]
        tensor = {"name": "text", "shape": shape, "datatype": "BYTES", "data": list(texts)}
        return json.dumps({"inputs": [tensor]}).encode()
    name = {"/embed": "inputs", "/v1/models/minilm:predict": "instances"}.get(form.path, "input")
    return json.dumps({name: list(texts)}).encode()


def vectors_in(form: Form, body: bytes) -> list[list[float]]:
    """Take an answer apart as a client of this server does."""
    said: Any = json.loads(body)
    if isinstance(said, dict) and "outputs" in said:
        ((rows, width), data) = (said["outputs"][0][name] for name in ("shape", "data"))
        assert len(data) == rows * width
        return [data[at : at + width] for at in range(0, len(data), width)]
    if isinstance(said, dict) and "predictions" in said:
        return said["predictions"]
    return [each["embedding"] for each in said["data"]] if isinstance(said, dict) else said


@EACH
def test_a_call_is_answered_with_a_vector_for_each_input_in_order(form: Form) -> None:
    body = call_of(form, ["a", "b", "c"])
    assert form.inputs(body) == ["a", "b", "c"]
    reply = proper_reply(form, "POST", "/behind/a/gateway" + form.path + "?x=1", body)
    assert reply.status == 200
    assert vectors_in(form, reply.body) == [json.loads(form.vector(each)) for each in "abc"]


@EACH
def test_health_is_where_the_server_has_it_and_other_paths_are_unknown(form: Form) -> None:
    assert proper_reply(form, "GET", form.health_path, b"").status == 200
    assert proper_reply(form, "POST", "/no/such/path", b"{}") == form.trouble(Trouble.UNKNOWN_PATH)
    assert proper_reply(form, "GET", form.path, b"") == form.trouble(Trouble.WRONG_METHOD)


#: Answers to calls for two inputs as they were recorded, with as many numbers as fit; `…` is left open.
RECORDED = [
    (forms.TeiForm(), "[[-0.72,0.69],[-0.84,0.53]]"),
    (
        forms.TeiOpenAiForm(),
        (
            '{"object":"list","data":[{"object":"embedding","embedding":[-0.72,0.69],"index":0},{"object":"embedding",'
            '"embedding":[-0.84,0.53],"index":1}],"model":"minilm","usage":{"prompt_tokens":…,"total_tokens":…}}'
        ),
    ),
    (forms.PlainForm(), "[[-0.72,0.69],[-0.84,0.53]]"),
    (
        forms.InfinityForm(),
        (
            '{"object":"list","data":[{"object":"embedding","embedding":[-0.72,0.69],"index":0},{"object":"embedding",'
            '"embedding":[-0.84,0.53],"index":1}],"model":"minilm","usage":{"prompt_tokens":…,"total_tokens":…},"id":'
            '"infinity-…","created":…}'
        ),
    ),
    (
        forms.VllmForm(),
        (
            '{"id":"embd-…","object":"list","created":…,"model":"minilm","data":[{"index":0,"object":"embedding","embedding":'
            '[-0.72,0.69]},{"index":1,"object":"embedding","embedding":[-0.84,0.53]}],"usage":{"prompt_tokens":…,'
            '"total_tokens":…,"completion_tokens":0,"prompt_tokens_details":null,"completion_tokens_details":null}}'
        ),
    ),
    (
        forms.LlamaForm(),
        (
            '{"model":"minilm","object":"list","usage":{"prompt_tokens":…,"total_tokens":…},"data":[{"embedding":[-0.72,0.69],'
            '"index":0,"object":"embedding"},{"embedding":[-0.84,0.53],"index":1,"object":"embedding"}]}'
        ),
    ),
    (
        forms.LitellmForm(),
        (
            '{"model":"minilm","data":[{"embedding":[-0.72,0.69],"index":0,"object":"embedding"},{"embedding":[-0.84,0.53],'
            '"index":1,"object":"embedding"}],"object":"list","usage":{"completion_tokens":0,"prompt_tokens":…,'
            '"total_tokens":…,"completion_tokens_details":null,"prompt_tokens_details":null}}'
        ),
    ),
    (forms.KserveForm(), '{"predictions":[[-0.72,0.69],[-0.84,0.53]]}'),
    (
        forms.MlserverForm(),
        (
            '{"model_name":"minilm","id":"…","parameters":{},"outputs":[{"name":"embedding","shape":[2,2],"datatype":"FP32",'
            '"parameters":{"content_type":"np"},"data":[-0.72,0.69,-0.84,0.53]}]}'
        ),
    ),
    (
        forms.TritonForm(),
        (
            '{"model_name":"minilm","model_version":"1","outputs":[{"name":"embedding","datatype":"FP32","shape":[2,2],"data":'
            "[-0.72,0.69,-0.84,0.53]}]}"
        ),
    ),
]


@pytest.mark.parametrize(("form", "recorded"), RECORDED, ids=lambda each: type(each).__name__)
def test_an_answer_is_byte_by_byte_as_it_was_recorded(form: Form, recorded: str) -> None:
    pattern = re.escape(recorded).replace("…", "[^,}\"']+")
    assert re.fullmatch(pattern, form.answer([b"[-0.72,0.69]", b"[-0.84,0.53]"]).decode())


def test_each_form_is_held_against_a_record() -> None:
    assert [type(form) for form, _ in RECORDED] == [type(form) for form in forms.ALL]
