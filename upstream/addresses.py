"""The addresses that an upstream's name leads to: which is used next, and which is left alone for a moment."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds for which an address that failed is left alone while another works: the first time, and at most.
FIRST_AVOIDANCE, LONGEST_AVOIDANCE = 1.0, 30.0


class Address(NamedTuple):
    """What a socket is made of and connected to, as ``getaddrinfo`` returns it."""

    family: int
    kind: int
    protocol: int
    place: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.place[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Target:
    """One address, and how connections to it have fared. Two targets are never equal."""

    __slots__ = ("address", "avoided_until", "busy", "failures", "is_listed", "turn")

    def __init__(self, address: Address) -> None:
        self.address = address
        #: Connections that are opened or in use.
        self.busy = 0
        #: When it was chosen last: the count of all choices.
        self.turn = 0
        #: How often connecting has failed since it last worked.
        self.failures = 0
        self.avoided_until = 0.0
        #: Whether the name still leads here.
        self.is_listed = True

    def __str__(self) -> str:
        return str(self.address)


class Addresses:
    """Chooses among the targets of one name; does no I/O, and the caller guards it.

    Connections go to the target with the fewest in use, and of these to the one chosen longest ago: so the load is
    spread evenly, and a server that hangs gets no more once it holds as many as the others. Addresses of another family
    than the first are a second way to the same servers (``localhost``, a name with A and AAAA records): they are used
    while those of the first family fail.
    """

    def __init__(self) -> None:
        self._targets: list[Target] = []
        self._turns = 0

    def told(self, found: Sequence[Address]) -> list[Target]:
        """Take what the name leads to now, the preferred family first; return the targets to which it no longer leads.

        What is known of the others is kept.
        """
        known = {target.address: target for target in self._targets}
        self._targets = [known.get(address) or Target(address) for address in dict.fromkeys(found)]
        gone = [target for address, target in known.items() if address not in found]
        for target in gone:
            target.is_listed = False
        return gone

    def all(self) -> list[Target]:
        """Return the targets, in the order in which they were told."""
        return self._targets.copy()

    def choose(self, now: float) -> Target | None:
        """Return the target for the next exchange; None if there is none."""
        if not self._targets:
            return None
        target = min(self._usable(now) or self._preferred(), key=_load)
        self._turns += 1
        target.turn = self._turns
        return target

    def order(self, first: Target, now: float) -> list[Target]:
        """Return all targets in the order in which a connection is tried: ``first``, then usable ones, then others."""
        usable = sorted(self._usable(now), key=_load)
        others = sorted(self._targets, key=lambda each: each.avoided_until)
        return list(dict.fromkeys(chain([first] if first.is_listed else [], usable, others)))

    def failed(self, target: Target, now: float) -> None:
        """Leave the target alone for a moment, the longer the more often it has failed in a row."""
        target.avoided_until = now + min(FIRST_AVOIDANCE * 2 ** min(target.failures, 10), LONGEST_AVOIDANCE)
        target.failures += 1

    def worked(self, target: Target) -> None:
        """Forget its failures."""
        target.failures = 0
        target.avoided_until = 0.0

    def _preferred(self) -> list[Target]:
        family = self._targets[0].address.family
        return [each for each in self._targets if each.address.family == family]

    def _usable(self, now: float) -> list[Target]:
        """Return the targets of the first family that are not avoided, or else those of any other family."""
        usable = [each for each in self._preferred() if not each.failures or each.avoided_until <= now]
        return usable or [each for each in self._targets if not each.failures or each.avoided_until <= now]


def _load(target: Target) -> tuple[int, int]:
    return target.busy, target.turn
