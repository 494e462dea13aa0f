"""In front of a server that takes less than it says, in calls and in texts, the service learns it from refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.service import Service, embed_request
from tests.support.upstream import ScriptedUpstream, TeiForm, faults, vector_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.upstream.exchange import Exchange

#: Inputs of one call that the server really takes, and characters of one input.
MOST, LONGEST = 8, 100
LONG = "x" * (LONGEST + 1)


def refuse(exchange: Exchange) -> object:
    """Refuse as Text Embeddings Inference does."""
    if exchange.is_call and len(exchange.inputs) > MOST:
        text = f"batch size {len(exchange.inputs)} > maximum allowed batch size {MOST}"
        return faults.refusal(422, text)(exchange)
    if exchange.is_call and any(len(each) > LONGEST for each in exchange.inputs):
        text = f"Input validation error: `inputs` must have less than {LONGEST} characters. Given: {LONGEST + 1}"
        return faults.refusal(422, text)(exchange)
    return faults.ok(exchange)


def test_the_size_of_a_call_and_the_length_of_an_input_are_learned_from_refusals(tmp_path: Path) -> None:
    form = TeiForm(info={"model_id": "scripted", "max_client_batch_size": 32})
    with ScriptedUpstream(form) as upstream, Service(tmp_path, inference_url=upstream.url) as service:
        upstream.fault = refuse
        texts = [f"text {number}" for number in range(100)]
        answer = service.embed(texts)
        assert (answer.status, json.loads(answer.body)) == (200, [json.loads(vector_for(text)) for text in texts])
        refused = [size for size in upstream.sizes if size > MOST]
        assert 1 <= len(refused) <= 4  # as many as are under way at once
        assert "too large: max_batch_size 32 -> 8" in service.log

        assert service.embed(LONG).status == 422
        before = len(upstream.sizes)
        inputs = [f"text {number}" if number % 8 else f"{number}{LONG}" for number in range(64)]
        answers = service.crowd([embed_request(text) for text in inputs])
        statuses = [None if each is None else each.status for each in answers]
        assert statuses == [200 if len(text) <= LONGEST else 422 for text in inputs]
        calls = [call.inputs for call in upstream.calls[before:]]
        assert all(len(call) == 1 for call in calls if any(len(text) > LONGEST for text in call))
        assert max(map(len, calls)) <= MOST
