"""A text's tokens as TEI's `/tokenize` tells them: ids, the words they came from, and where those stand in bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Token:
    """One token; its fields stand in the order of TEI's answer.

    `start` and `stop` count bytes of the text in UTF-8, and `text` is what stands there. A special token that the
    tokenizer added stands nowhere: its `text` is its name.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def tokens_of(
    text: str,
    ids: Sequence[int],
    names: Sequence[str],
    specials: Sequence[int],
    spans: Iterable[tuple[int, int]],
) -> list[Token]:
    """Put the columns of an encoding together; `spans` count characters of `text`, `specials` are 0 or 1."""
    at = _byte_positions(text)
    return [
        Token(id_, name, special=True, start=None, stop=None)
        if special
        else Token(id_, text[start:stop], special=False, start=at[start], stop=at[stop])
        for id_, name, special, (start, stop) in zip(ids, names, specials, spans, strict=True)
    ]


def _byte_positions(text: str) -> Sequence[int]:
    """Return for each character of a text, and for its end, the number of bytes before it."""
    if text.isascii():
        return range(len(text) + 1)
    return list(accumulate((len(character.encode()) for character in text), initial=0))
