"""One response as a test sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Answer:
    """One response, and when its request was sent and it had come whole (moments on the monotonic clock)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: float = 0.0
    came: float = 0.0

    @property
    def took(self) -> float:
        return self.came - self.sent

    @property
    def json(self) -> Any:
        return json.loads(self.body)
