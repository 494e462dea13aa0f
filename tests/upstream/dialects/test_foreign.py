"""Members of another API are dropped where they change nothing, and refused where they would."""

from __future__ import annotations

import pytest

from batching import Options
from batching.errors import Unsupported
from upstream.dialects.foreign import without_foreign


def openai(**members: bytes) -> Options:
    return Options(normalize=False, more=tuple(sorted(members.items())), family="openai")


def test_members_of_the_servers_own_api_stay() -> None:
    options = openai(input_type=b'"query"')
    assert without_foreign(options, "openai") is options


def test_options_without_such_members_stay_the_same_object() -> None:
    options = Options(normalize=False)
    assert without_foreign(options, "tei") is options


@pytest.mark.parametrize(
    "members",
    [
        {"priority": b"1"},
        {"extra": b"{}", "seed": b"7"},
        {"input_type": b"null", "prompt": b"null"},
        {"normalized": b"true", "late_chunking": b"false", "embedding_type": b'"float"'},
    ],
)
def test_what_is_read_over_or_asks_for_what_is_done_anyway_is_dropped(members: dict[str, bytes]) -> None:
    assert without_foreign(openai(**members), "tei") == Options(normalize=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_type", b'"query"'),
        ("task", b'"retrieval.query"'),
        ("prompt", b'"query: "'),
        ("prompt_name", b'"query"'),
        ("truncate_prompt_tokens", b"256"),
        ("late_chunking", b"true"),
        ("normalize", b"false"),
        ("embedding_type", b'"binary"'),
        ("output_dimension", b"256"),
    ],
)
def test_what_would_change_the_vectors_is_refused_by_its_name(name: str, value: bytes) -> None:
    with pytest.raises(Unsupported) as caught:
        without_foreign(openai(**{"a": b"1", name: value}), "tei")
    assert (caught.value.field, caught.value.status) == (name, 422)
    assert name in caught.value.message
