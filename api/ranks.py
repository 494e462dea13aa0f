"""Which class and flow a request has, by its headers, its client's key, its size and its body. Pure but for the flows.

A client of class bulk is never interactive. Else the first of these decides: ``X-Priority``, a body that asks for the
cheap tier, the number of inputs. What none of them makes bulk is interactive.
"""

from __future__ import annotations

import re
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from api.environ import CLIENT
from api.error_forms import RequestError
from batching.rank import ORDINARY, Flow, Rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config import Settings

PRIORITY_HEADER, MAX_WAIT_HEADER, FAIRNESS_HEADER = "X-Priority", "X-Max-Wait-Ms", "X-Fairness-Id"
#: The names of the classes, by whether they are bulk.
CLASSES = ("interactive", "bulk")

_IS_BULK = {name: bool(at) for at, name in enumerate(CLASSES)}
_FAIRNESS_ID = re.compile(r"[ -~]{1,128}").fullmatch
#: What is the same for all bulk requests that say nothing else.
_BULK = Rank(is_bulk=True)


class Client(NamedTuple):
    """A client that has a name: its flow, and the class of its key."""

    flow: Flow
    #: Whether all of its requests are bulk.
    is_bulk: bool = False


class Ranks:
    """Ranks requests by the settings. Any thread."""

    def __init__(self, settings: Settings) -> None:
        self._bulk_from = settings.bulk_from_items or sys.maxsize
        self._most_wait = (settings.max_wait, settings.bulk_max_wait)
        self._guests = GuestFlows() if settings.trust_fairness_header == "on" else None

    def of(self, environ: Mapping[str, Any], items: int, asks_for_bulk: bool) -> Rank:
        """Return the rank of a request with so many inputs; raises ``RequestError``, which names the wrong header.

        ``asks_for_bulk``: whether its body does.
        """
        asked = environ.get("HTTP_X_PRIORITY")
        wait = environ.get("HTTP_X_MAX_WAIT_MS")
        client: Client | None = environ.get(CLIENT)
        is_bulk = asks_for_bulk or items > self._bulk_from
        if asked is None and wait is None and client is None and self._guests is None:
            return _BULK if is_bulk else ORDINARY
        if asked is not None:
            is_bulk = _priority(asked)
        flow = None
        if client is not None:
            is_bulk = is_bulk or client.is_bulk
            flow = client.flow
        elif self._guests is not None and (identity := environ.get("HTTP_X_FAIRNESS_ID")) is not None:
            flow = self._guests.flow(_fairness_id(identity))
        if wait is not None:
            return Rank(is_bulk, flow, min(_seconds(wait), self._most_wait[is_bulk]))
        if flow is None:
            return _BULK if is_bulk else ORDINARY
        return Rank(is_bulk, flow)


class _GuestFlow(Flow):
    """A flow that ends with the last call that has it."""

    __slots__ = ("__weakref__",)


class GuestFlows:
    """The flows that clients name themselves, as long as calls have them; so there are never more than calls.

    Any thread.
    """

    def __init__(self) -> None:
        self._flows: WeakValueDictionary[str, _GuestFlow] = WeakValueDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._flows)

    def flow(self, identity: str) -> Flow:
        """Return the flow of this identity, which all calls share that tell it at the same time.

        Its name is none that a client of the file of keys may have.
        """
        with self._lock:
            flow = self._flows.get(identity)
            if flow is None:
                flow = self._flows[identity] = _GuestFlow(f"{FAIRNESS_HEADER} {identity}")
            return flow


def _priority(asked: str) -> bool:
    is_bulk = _IS_BULK.get(asked.strip().lower())
    if is_bulk is None:
        raise RequestError(400, f"{PRIORITY_HEADER} must be interactive or bulk")
    return is_bulk


def _seconds(asked: str) -> float:
    if not (asked.isascii() and asked.isdigit()):
        raise RequestError(400, f"{MAX_WAIT_HEADER} must be a whole number of milliseconds, 0 or more")
    return int(asked.lstrip("0")[:10] or "0") / 1000


def _fairness_id(identity: str) -> str:
    if not _FAIRNESS_ID(identity):
        raise RequestError(400, f"{FAIRNESS_HEADER} must be 1 to 128 printable ASCII characters")
    return identity
