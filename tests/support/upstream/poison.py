"""An upstream that stumbles over some inputs and over no others, in any of the ways in which that shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from tests.support.upstream import faults
from tests.support.upstream.forms import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.upstream.exchange import Exchange

#: ``own``: as a server of the form does when its model throws. Statuses and what breaks are of the whole call; a row
#: stands in the place of the input's vector.
Way = Literal[
    "own", "400", "413", "422", "424", "500", "null", "nan", "infinity", "short", "empty", "reset", "close", "hang"
]
WAYS: tuple[Way, ...] = get_args(Way)

_ROWS = {"null": b"null", "nan": b"[NaN,0.5]", "infinity": b"[0.5,-Infinity]", "short": b"[0.5]", "empty": b"[]"}
_BREAKS = {"reset": faults.reset, "close": faults.close, "hang": faults.hang}


@dataclass(frozen=True)
class Poison:
    """A fault: calls with a poisonous input show it this way, and everything else is answered properly."""

    is_poisonous: Callable[[Any], bool]
    way: Way
    #: What the server says of it, where it says anything.
    text: str = "cannot embed this"

    def __call__(self, exchange: Exchange) -> object:
        if not exchange.is_call or not any(map(self.is_poisonous, exchange.inputs)):
            return faults.ok(exchange)
        form = exchange.form
        if self.way in _ROWS:
            row = _ROWS[self.way]
            rows = [row if self.is_poisonous(each) else form.vector(each) for each in exchange.inputs]
            return exchange.play(Reply(200, form.answer(rows), form.headers))
        if self.way in _BREAKS:
            return _BREAKS[self.way](exchange)
        if self.way == "own":
            return exchange.play(form.failure(self.text))
        return faults.refusal(int(self.way), self.text)(exchange)
