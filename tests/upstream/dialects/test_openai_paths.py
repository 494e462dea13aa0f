"""Which path takes the calls, below which base address."""

from __future__ import annotations

import pytest

from upstream.dialects.openai_paths import Paths, without_route


@pytest.mark.parametrize(
    ("base", "tried"),
    [
        ("", ["/v1/embeddings", "/embeddings"]),
        ("/", ["/v1/embeddings", "/embeddings"]),
        ("/v1", ["/embeddings"]),
        ("/v1/", ["/embeddings"]),
        ("/api/v1", ["/embeddings"]),
        ("/v1beta/openai", ["/embeddings"]),
        ("/openai/deployments/small", ["/embeddings"]),
        ("/models", ["/embeddings", "/v1/embeddings"]),
        ("/vllm", ["/embeddings", "/v1/embeddings"]),
    ],
)
def test_paths_are_tried_one_after_the_other(base: str, tried: list[str]) -> None:
    paths = Paths(base)
    seen = [paths.current]
    while paths.unknown(paths.current):
        seen.append(paths.current)
    assert seen == tried
    # Where none is known the first is asked, so that an error names it.
    assert paths.current == tried[0]
    assert not paths.unknown(paths.current)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h/v1/embeddings", "http://h/v1"),
        ("http://h/v1/embeddings/", "http://h/v1"),
        ("http://h/api/v1beta/embeddings", "http://h/api/v1beta"),
        ("http://h/v1beta/openai/embeddings", "http://h/v1beta/openai"),
        (
            "https://a.openai.azure.com/openai/deployments/small/embeddings?api-version=1",
            "https://a.openai.azure.com/openai/deployments/small?api-version=1",
        ),
    ],
)
def test_an_address_that_has_the_path_of_the_calls_is_taken_without_it(given: str, base: str) -> None:
    assert without_route(given) == base
    assert without_route(base) == base


@pytest.mark.parametrize("url", ["http://h", "http://h/v1", "http://h/embeddings", "http://h/embed?a=/v1/embeddings"])
def test_any_other_address_stays(url: str) -> None:
    assert without_route(url) == url


def test_a_path_that_is_a_setting_is_the_only_one() -> None:
    paths = Paths("", "/embed")
    assert not paths.unknown("/embed")
    assert paths.current == "/embed"


def test_a_path_that_has_answered_is_not_given_up() -> None:
    paths = Paths("")
    assert not paths.is_known("/v1/embeddings")
    paths.answered("/embeddings")
    assert not paths.is_known("/v1/embeddings")
    paths.answered("/v1/embeddings")
    assert (paths.is_known("/v1/embeddings"), paths.is_known("/embeddings")) == (True, False)
    assert not paths.unknown("/v1/embeddings")
    paths.forget()
    assert not paths.is_known("/v1/embeddings")
    assert paths.unknown("/v1/embeddings")


def test_a_late_404_of_a_path_that_is_left_is_worth_asking_again() -> None:
    paths = Paths("")
    assert paths.unknown("/v1/embeddings")
    paths.answered("/embeddings")
    assert paths.unknown("/v1/embeddings")
    assert paths.current == "/embeddings"


def test_what_is_forgotten_is_tried_again() -> None:
    paths = Paths("")
    while paths.unknown(paths.current):
        pass
    paths.forget()
    assert paths.unknown("/v1/embeddings")


@pytest.mark.parametrize(
    ("base", "setting", "of_models"),
    [
        ("", None, [("/v1/embeddings", "/v1/models"), ("/embeddings", "/models")]),
        ("/v1", None, [("/embeddings", "/models")]),
        ("/x", "/api/v1/embeddings", [("/api/v1/embeddings", "/api/v1/models")]),
        ("", "/embed", [("/embed", "/v1/models")]),
        ("/v1", "/embed", [("/embed", "/models")]),
    ],
)
def test_models_are_listed_beside_the_path_of_calls(
    base: str, setting: str | None, of_models: list[tuple[str, str]]
) -> None:
    assert Paths(base, setting).of_models == of_models
