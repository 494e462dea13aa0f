"""Where a token stands in its text, in bytes."""

import pytest

from embedded.tokens import Token, tokens_of


@pytest.mark.parametrize(
    ("text", "span", "start", "stop"),
    [("ab cd", (3, 5), 3, 5), ("é?", (1, 2), 2, 3), ("日本🎈x", (2, 3), 6, 10), ("日本🎈x", (3, 4), 10, 11)],
)
def test_a_token_stands_where_its_bytes_are(text: str, span: tuple[int, int], start: int, stop: int) -> None:
    (token,) = tokens_of(text, [7], ["name"], [0], [span])

    assert (token.start, token.stop) == (start, stop)
    assert token.text == text.encode()[start:stop].decode()


def test_an_added_token_has_a_name_and_no_place() -> None:
    assert tokens_of("a", [101], ["[CLS]"], [1], [(0, 0)]) == [Token(101, "[CLS]", special=True, start=None, stop=None)]
