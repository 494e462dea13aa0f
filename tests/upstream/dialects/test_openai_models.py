"""The lists of models that servers have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.upstream import forms
from upstream.dialects.openai_models import MAX_MODELS, Models, models_of


def listed(*models: dict[str, Any]) -> bytes:
    return json.dumps({"object": "list", "data": models}).encode()


def infinity(name: str, *can: str) -> dict[str, Any]:
    return {"id": name, "owned_by": "infinity", "capabilities": can}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (forms.VllmForm.pages["/v1/models"].body, Models(("minilm",), "minilm")),
        (forms.LlamaForm.pages["/v1/models"].body, Models(("minilm",), "minilm")),
        (forms.LitellmForm.pages["/v1/models"].body, Models(("minilm",), "minilm")),
        (forms.InfinityForm.pages["/models"].body, Models(("minilm",), "minilm", 2048)),
        (listed(infinity("e", "embed"), infinity("r", "rerank")), Models(("e", "r"), "e", 2048)),
        # vLLM lists adapters with the model that they belong to.
        (listed({"id": "base", "parent": None}, {"id": "lora", "parent": "base"}), Models(("base", "lora"), "base")),
        (listed({"id": "a"}, {"id": "b"}), Models(("a", "b"), None)),
        (listed({"id": "a"}, {"id": "a"}), Models(("a",), "a")),
        # Mistral's say what they can do in another form.
        (listed({"id": "a", "capabilities": {"completion_chat": False}}), Models(("a",), "a")),
        (b'[{"id":"a"}]', Models(("a",), "a")),
        (listed(), None),
        (b'{"data":[]}', None),
        (b"{}", None),
        (b"", None),
        (b"<html>", None),
        (b'{"data":"a"}', None),
        (b"[" * 30_000, None),
        (listed({"id": 7}, {"id": ""}, {"name": "a"}, {"x": 1}), Models(("a",), "a")),
        (b'{"data":["a",7,null]}', Models((), None)),
        (listed({"id": "a\x1b[31m\nb"}, {"id": "x" * 600}), Models((), None)),
    ],
)
def test_names_and_the_only_model_are_read(body: bytes, said: Models | None) -> None:
    assert models_of(body) == said


def test_so_many_models_are_told_as_there_may_be() -> None:
    said = models_of(listed(*({"id": str(number)} for number in range(2 * MAX_MODELS))))
    assert said is not None
    assert (len(said.names), said.only) == (MAX_MODELS, None)
