"""Which routes of an OpenAPI document take texts to embed, as FastAPI writes such documents."""

from __future__ import annotations

from typing import Any

import pytest

from upstream.dialects.openapi import MAX_DEPTH, Taker, takers

TEXT = {"type": "string", "title": "Text"}
TEXTS = {"type": "array", "items": {"type": "string"}, "title": "Texts"}
#: The plain server's document, as it was recorded.
RECORDED: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "FastAPI", "version": "0.1.0"},
    "paths": {
        "/embed": {
            "post": {
                "summary": "Embed",
                "operationId": "embed_embed_post",
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EmbedRequest"}}},
                    "required": True,
                },
            }
        },
        "/health": {"get": {"summary": "Health"}},
    },
    "components": {
        "schemas": {
            "EmbedRequest": {
                "properties": {"inputs": {"anyOf": [TEXT, TEXTS], "title": "Inputs"}},
                "type": "object",
                "required": ["inputs"],
            }
        }
    },
}


def document(**routes: dict[str, Any]) -> dict[str, Any]:
    """Return a document of these routes, each with the members of its body; a name's _ stands for a slash."""
    paths = {}
    for name, members in routes.items():
        required = [each for each, schema in members.items() if not schema.pop("optional", False)]
        schema = {"type": "object", "properties": members, "required": required}
        content = {"application/json": {"schema": schema}}
        paths["/" + name.replace("_", "/")] = {"post": {"requestBody": {"content": content}}}
    return {"openapi": "3.1.0", "paths": paths}


def test_the_recorded_document_has_one_route_that_takes_a_list() -> None:
    assert takers(RECORDED) == [Taker("/embed", "inputs", True, frozenset(), frozenset({"inputs"}))]


def test_the_member_that_holds_the_list_is_found_and_what_else_has_to_be_there() -> None:
    (taker,) = takers(document(encode={"texts": dict(TEXTS), "model": dict(TEXT), "pool": {**TEXT, "optional": True}}))
    assert (taker.path, taker.field, taker.takes_list) == ("/encode", "texts", True)
    assert taker.required == {"model"}
    assert taker.known == {"texts", "model", "pool"}


def test_a_route_that_takes_one_text_is_told_apart() -> None:
    (taker,) = takers(document(embed={"text": dict(TEXT)}))
    assert (taker.field, taker.takes_list) == ("text", False)


def test_routes_that_take_lists_come_before_others_and_embeddings_before_all() -> None:
    found = takers(
        document(
            embed_one={"text": dict(TEXT)},
            api_embed={"inputs": dict(TEXTS)},
            encode={"texts": dict(TEXTS)},
            vectors={"phrases": dict(TEXTS)},
        )
    )
    assert [each.path for each in found] == ["/api/embed", "/encode", "/vectors", "/embed/one"]


def test_a_member_of_any_name_counts_where_it_is_required() -> None:
    (taker,) = takers(document(vectorize={"phrases": dict(TEXTS), "tags": {**TEXTS, "optional": True}}))
    assert taker.field == "phrases"


def test_a_path_that_says_nothing_counts_where_the_member_does() -> None:
    assert [each.path for each in takers(document(predict={"inputs": dict(TEXTS)}))] == ["/predict"]
    assert takers(document(rerank={"documents": dict(TEXTS)}, login={"text": dict(TEXT)})) == []


def test_the_length_of_the_list_is_read() -> None:
    choices = {"anyOf": [TEXT, {**TEXTS, "maxItems": 32}]}
    assert [each.most_items for each in takers(document(embed={"inputs": choices}))] == [32]
    assert [each.most_items for each in takers(document(embed={"inputs": {**TEXTS, "maxItems": True}}))] == [None]


@pytest.mark.parametrize(
    "path", ["/{model}/embed", "/embed\r\nx: y", "/em bed", "/embed#a", "embed", "http://a/embed", ""]
)
def test_what_cannot_be_asked_for_as_it_stands_is_no_path(path: str) -> None:
    found = document(embed={"inputs": dict(TEXTS)})
    found["paths"] = {path: found["paths"]["/embed"]}
    assert takers(found) == []


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"paths": []},
        {"paths": {"/embed": None, "/a": {"post": 5}, "/b": {"post": {"requestBody": {"content": []}}}}},
        {"paths": {"/embed": {"post": {"requestBody": {"$ref": "#/nowhere/at/all"}}}}},
        {"paths": {"/embed": {"post": {"requestBody": {"$ref": "http://elsewhere/x"}}}}},
        {"paths": {"/embed": {"post": {"requestBody": {"$ref": "#/paths/~1embed/post/requestBody"}}}}},
        document(embed={"inputs": {"type": "array", "items": {"type": "integer"}}, "n": {"type": "integer"}}),
    ],
)
def test_what_is_no_document_of_such_a_server_has_no_routes(said: object) -> None:
    assert takers(said) == []


def test_schemas_within_one_another_are_followed_to_a_depth() -> None:
    schema: dict[str, Any] = dict(TEXTS)
    for _ in range(3 * MAX_DEPTH):
        schema = {"anyOf": [schema]}
    assert takers(document(embed={"inputs": schema})) == []
