"""A list of upstreams is to serve one model: the first that tells decides which, for as long as it is there."""

from __future__ import annotations

import pytest

from batching import BatchKey, Options, Task
from batching.outcomes import Source
from tests.support.fakes import KEY
from upstream.identity import MAX_REMEMBERED_KEYS, Identities

A, B, C = "http://a", "http://b", "http://c"


def identities_of(**models: str | None) -> Identities:
    """Return what upstreams have told, in this order."""
    identities = Identities()
    for name, model in models.items():
        identities.told(f"http://{name}", model)
    return identities


def differing(identities: Identities) -> list[str]:
    return [url for url in (A, B, C) if identities.difference(url) is not None]


# Models


@pytest.mark.parametrize(
    ("models", "others"),
    [
        ({}, []),
        ({"a": "one"}, []),
        ({"a": "one", "b": "one", "c": "one"}, []),
        ({"a": "one", "b": "two", "c": "one"}, [B]),
        ({"b": "two", "a": "one", "c": "two"}, [A]),
        ({"a": "one", "b": "two", "c": "three"}, [B, C]),
        ({"a": None, "b": "two", "c": "two"}, []),  # it does not tell
        ({"a": None, "b": "two", "c": "three"}, [C]),
        ({"a": "one", "b": "One"}, [B]),
    ],
    ids=str,
)
def test_those_differ_that_tell_another_model_than_the_first(models: dict[str, str | None], others: list[str]) -> None:
    assert differing(identities_of(**models)) == others


def test_the_difference_names_both() -> None:
    identities = identities_of(a="one", b="two\n")
    assert identities.difference(B) == "it serves 'two\\n', and http://a serves 'one'"


def test_where_the_first_has_gone_the_next_decides() -> None:
    identities = identities_of(a="one", b="two", c="two")
    identities.gone(A)
    assert differing(identities) == []
    identities.told(A, "one")
    assert differing(identities) == [A]


def test_one_that_comes_back_with_the_right_model_differs_no_more() -> None:
    identities = identities_of(a="one", b="two")
    identities.gone(B)
    assert differing(identities) == []
    identities.told(B, "one")
    assert differing(identities) == []


def test_one_that_does_not_tell_any_more_does_not_differ() -> None:
    identities = identities_of(a="one", b="two")
    identities.told(B, None)
    assert differing(identities) == []


def test_the_first_stays_the_first_when_it_tells_the_same_again() -> None:
    identities = identities_of(a="one", b="two")
    identities.told(A, "one")
    assert differing(identities) == [B]


def test_an_upstream_that_was_never_heard_of_may_go() -> None:
    identities = identities_of(a="one")
    identities.gone(B)
    assert repr(identities) == "<Identities {'http://a': 'one'}>"


# Lengths


def test_the_length_of_vectors_is_known_of_the_other_upstreams() -> None:
    identities = Identities()
    identities.learned(A, KEY, 8)
    assert (identities.length_elsewhere(A, KEY), identities.length_elsewhere(B, KEY)) == (None, 8)


def test_each_key_has_its_own() -> None:
    identities = Identities()
    shortened = BatchKey(Task.EMBED, Options(dimensions=4))
    identities.learned(A, KEY, 8)
    assert identities.length_elsewhere(B, shortened) is None
    identities.learned(A, shortened, 4)
    assert identities.length_elsewhere(B, shortened) == 4


def test_it_is_forgotten_with_the_upstream() -> None:
    identities = Identities()
    identities.learned(A, KEY, 8)
    identities.gone(A)
    assert identities.length_elsewhere(B, KEY) is None


def test_keys_without_end_are_not_kept() -> None:
    identities = Identities()
    keys = [BatchKey(Task.EMBED, Options(prompt_name=str(number))) for number in range(3 * MAX_REMEMBERED_KEYS)]
    for key in keys:
        identities.learned(A, key, 8)
    assert sum(identities.length_elsewhere(B, key) is not None for key in keys) <= MAX_REMEMBERED_KEYS


# Sources


def test_the_source_of_a_vector_is_what_is_known_of_its_model() -> None:
    identities = identities_of(a="one")
    assert identities.source(A, 8) == Source("one", 8)
    assert identities.source(B, 8) == Source(None, 8)
    assert identities.source(B, None) == Source(None, None)
