"""The error that lists every problem of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: a line for the operator, and the names of the settings it is about."""

    text: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


class SettingsError(Exception):
    """The settings cannot be used; the message lists every problem, one a line, and then what may help."""

    def __init__(self, problems: Iterable[Problem], *, log_format: str = "text", hint: str = "") -> None:
        """``log_format``: the one that the settings ask for, as far as that can be told."""
        self.problems = tuple(problems)
        self.log_format = log_format
        count = len(self.problems)
        heading = "The settings have 1 problem:" if count == 1 else f"The settings have {count} problems:"
        said = [*map(str, self.problems), *([f"({hint})"] if hint else [])]
        super().__init__("\n  ".join([heading, *said]))
        #: The message without line breaks.
        self.on_one_line = f"{heading} {'; '.join(said)}"
