"""What servers refuse that embed texts and know no options."""

from __future__ import annotations

import pytest

from batching import Options
from batching.errors import Unsupported
from upstream.dialects.texts import check_options, check_texts


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
