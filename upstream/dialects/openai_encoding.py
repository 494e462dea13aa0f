"""Learns from replies in which encoding a server of OpenAI's API can be asked for vectors."""

from __future__ import annotations

from enum import Enum

from formats.bounded import Bounded

#: Models, which clients may choose, of which something is remembered.
MAX_REMEMBERED = 256


class Encoding(Enum):
    """How vectors are asked for, as a member of the request."""

    BASE64 = b',"encoding_format":"base64"'
    FLOAT = b',"encoding_format":"float"'
    #: Some servers refuse the member, whatever it says.
    UNSAID = b""


_AFTER = {Encoding.BASE64: Encoding.FLOAT, Encoding.FLOAT: Encoding.UNSAID}


class Encodings:
    """What is known of each model of one server: gateways have models of servers of several kinds behind one address.

    Base64 is asked for first, since it is half as long as digits. Calls of several threads may be under way at once, so
    each says in which encoding it had asked.
    """

    def __init__(self, first: Encoding) -> None:
        """``first``: what is tried with a model of which nothing is known yet."""
        self._first = first
        self._of: Bounded[str | None, Encoding] = Bounded(MAX_REMEMBERED)
        #: Models that have answered base64: what a refusal says of it then is quoted from an input.
        self._can_base64: Bounded[str | None, bool] = Bounded(MAX_REMEMBERED)
        #: Models that have been asked for numbers on trial, and whether it is not over yet.
        self._on_trial: Bounded[str | None, bool] = Bounded(MAX_REMEMBERED)

    def __repr__(self) -> str:
        return f"<Encodings, first {self._first.name}: { ({model: each.name for model, each in self._of.items()}) }>"

    def of(self, model: str | None) -> Encoding:
        """Return how this model is asked next."""
        return self._of.get(model, self._first)

    def forget(self) -> None:
        """Begin anew: the server may be another one."""
        for each in (self._of, self._can_base64, self._on_trial):
            each.clear()

    def answered(self, model: str | None, *, as_base64: bool) -> None:
        """The model has given vectors, as base64 because it was asked for that or else as numbers."""
        if as_base64 and model not in self._can_base64:
            self._can_base64[model] = True
        if self._on_trial.get(model):
            self._on_trial[model] = False

    def refused(self, model: str | None, asked: Encoding, *, is_told: bool) -> bool:
        """The model gave no vectors; return whether it is worth asking it again, in another encoding.

        ``is_told``: whether the server says that the encoding is why. If not, it may be why all the same: gateways drop
        the words of a server behind them. A model that has never answered base64 is asked for numbers once then; if it
        gives none either, the inputs are why.
        """
        if model in self._can_base64 or asked is Encoding.UNSAID:
            return False
        if self.of(model) is not asked:  # another call has learned meanwhile
            return True
        if is_told:
            self._on_trial[model] = False
            self._of[model] = _AFTER[asked]
            return True
        if asked is Encoding.BASE64 and model not in self._on_trial:
            self._on_trial[model] = True
            self._of[model] = Encoding.FLOAT
            return True
        if self._on_trial.get(model):
            self._on_trial[model] = False
            self._of[model] = Encoding.BASE64
        return False
