"""The refusal that names each wrong field of a body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from api.error_forms import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is said of an input without characters or token ids, and of a text that UTF-8 cannot hold.
EMPTY = "must not be empty"
HALF_A_PAIR = "holds half of a surrogate pair, which is not a character"
#: Wrong fields that one message names; of the others it tells the number.
MOST_NAMED = 10


class WrongFieldsError(RequestError):
    """Fields of the body are wrong (422). ``wrong``: each path, like ``inputs[3]``, and what is wrong there."""

    def __init__(self, wrong: list[tuple[str, str]]) -> None:
        super().__init__(422, _sentence(wrong))
        self.wrong = wrong

    @classmethod
    def of(cls, messages: Any) -> Self:
        """Return the error for marshmallow's tree of messages."""
        return cls(list(_leaves(messages)))

    @property
    def all_empty(self) -> bool:
        """Whether nothing is wrong but inputs that are empty."""
        return all(text == EMPTY for _, text in self.wrong)

    @property
    def has_half_a_pair(self) -> bool:
        """Whether half of a surrogate pair stands in a text."""
        return any(text == HALF_A_PAIR for _, text in self.wrong)


def _sentence(wrong: list[tuple[str, str]]) -> str:
    """Return ``inputs[3]: must not be empty; normalize: must be …``."""
    named = "; ".join(f"{path}: {text}" for path, text in wrong[:MOST_NAMED])
    more = len(wrong) - MOST_NAMED
    return f"{named}; and {more} more" if more > 0 else named


def _leaves(messages: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(messages, dict):
        for name, below in messages.items():
            step = f"[{name}]" if isinstance(name, int) else f".{name}" if path else str(name)
            yield from _leaves(below, path + step)
    else:
        yield path, " ".join(messages)
