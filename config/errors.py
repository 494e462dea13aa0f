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
    """The settings cannot be used; the message lists every problem, one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 problem" if count == 1 else f"{count} problems"
        super().__init__("\n  ".join([f"The settings have {heading}:", *map(str, self.problems)]))
