"""What servers refuse that embed texts and know no options."""

from __future__ import annotations

import pytest

from batching import BatchKey, Options, Task
from batching.errors import Unsupported
from upstream.dialects.texts import as_embedding, check_instances, check_options, check_texts


@pytest.mark.parametrize("key", [BatchKey(Task.EMBED, Options(dimensions=2), "m"), BatchKey(Task.CLASSIFY)])
def test_a_key_that_is_no_prediction_stays(key: BatchKey) -> None:
    assert as_embedding(key, "a TEI") is key


def test_a_prediction_is_an_embedding_by_the_same_model() -> None:
    assert as_embedding(BatchKey(Task.PREDICT, model="m"), "a TEI") == BatchKey(Task.EMBED, model="m")


def test_a_prediction_with_other_members_is_refused_by_the_first_of_them() -> None:
    key = BatchKey(Task.PREDICT, Options(more=(("a", b"1"), ("b", b"2")), family="kserve"))
    with pytest.raises(Unsupported, match=r"^a: an OpenAI upstream takes texts and no other members") as caught:
        as_embedding(key, "an OpenAI")
    assert (caught.value.field, caught.value.status) == ("a", 422)


def test_instances_that_are_texts_or_token_ids_pass() -> None:
    check_instances([b'"a"', b"[ 1 ,\n2 ]", '"ü\\""'.encode()])


@pytest.mark.parametrize(
    ("item", "status"),
    [(b'""', 400), (b"[]", 400), (b"[ ]", 400), (b"null", 422), (b'["a"]', 422), (b"[1.5]", 422), (b"{}", 422)],
)
def test_other_instances_are_refused_by_their_position(item: bytes, status: int) -> None:
    with pytest.raises(Unsupported, match=r"^instances\[1\]: ") as caught:
        check_instances([b'"a"', item])
    assert (caught.value.field, caught.value.status) == ("instances", status)


def test_texts_pass() -> None:
    check_texts([b'"a"', b'""'], "plain")


@pytest.mark.parametrize(
    ("item", "words"), [(b"[1,2]", "a plain upstream embeds texts, no token ids"), (b"5", "nothing else")]
)
def test_other_items_do_not(item: bytes, words: str) -> None:
    with pytest.raises(Unsupported, match=words) as caught:
        check_texts([b'"a"', item], "plain")
    assert (caught.value.field, caught.value.status) == ("inputs", 422)


@pytest.mark.parametrize(
    "options",
    [Options(), Options(normalize=True), Options(truncate=True), Options(truncate=False, truncation_direction="right")],
)
def test_options_that_change_nothing_pass(options: Options) -> None:
    check_options(options, "KServe")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (Options(dimensions=1), "dimensions"),
        (Options(prompt_name=""), "prompt_name"),
        (Options(normalize=False), "normalize"),
        (Options(truncation_direction="left"), "truncation_direction"),
    ],
)
def test_options_that_change_vectors_are_refused_by_name(options: Options, name: str) -> None:
    with pytest.raises(Unsupported, match=f"{name}: a KServe upstream has no such option") as caught:
        check_options(options, "KServe")
    assert caught.value.field == name
