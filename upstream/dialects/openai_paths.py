"""Learns which path of a server of OpenAI's API takes the calls."""

from __future__ import annotations

import re

_ROUTE = "/embeddings"
_VERSIONED = "/v1/embeddings"
#: An address that has the path of the calls itself, up to that, and its query: ``…/v1/embeddings``, and Azure's.
_WITH_ROUTE = re.compile(r"([^?]*/(?:v\d+\w*|openai|deployments/[^/?]+))/embeddings/?(\?.*)?").fullmatch


def without_route(url: str) -> str:
    """Return the base address, where the whole address of OpenAI's embeddings was given; any other as it is."""
    found = _WITH_ROUTE(url)
    return url if found is None else found[1] + (found[2] or "")


class Paths:
    """The paths that may be right below one base address, and which of them is asked.

    OpenAI's own is ``/v1/embeddings``, and its SDKs are given an address that ends with ``/v1``. Infinity has
    ``/embeddings``; llama-server has both, of which the one without ``/v1`` answers another form.
    """

    def __init__(self, base_path: str, setting: str | None = None) -> None:
        """``base_path``: of the base address. ``setting``: the path, if it is known; no other is tried then."""
        segments = base_path.strip("/").split("/")
        if setting is not None:
            self._candidates: tuple[str, ...] = (setting,)
        elif segments == [""]:
            self._candidates = (_VERSIONED, _ROUTE)
        elif "deployments" in segments or any(each[:1] == "v" and each[1:2].isdecimal() for each in segments):
            self._candidates = (_ROUTE,)
        else:  # a prefix, of the server itself or of what is in front of it
            self._candidates = (_ROUTE, _VERSIONED)
        self._unknown: frozenset[str] = frozenset()
        self._has_answered = False
        #: What takes the calls.
        self.current = self._candidates[0]
        #: Whether the address has the server's root, where its health check is.
        self.is_root = segments == [""]
        #: Whether the address decides on the model (Azure's deployments).
        self.fixes_model = "deployments" in segments

    def __repr__(self) -> str:
        return f"<Paths {self.current} of {', '.join(self._candidates)}>"

    @property
    def of_models(self) -> list[tuple[str, str]]:
        """Each path that may take calls, and the one beside it that lists models."""
        if not self._candidates[0].endswith(_ROUTE):
            return [(self._candidates[0], "/v1/models" if self.is_root else "/models")]
        return [(path, path.removesuffix(_ROUTE) + "/models") for path in self._candidates]

    def found(self, path: str) -> None:
        """The server says that this is the path."""
        self.current = path

    def answered(self, asked: str) -> None:
        """The path that was asked has given vectors: no other is tried any more."""
        if asked == self.current:
            self._has_answered = True

    def is_known(self, path: str) -> bool:
        """Whether this path has given vectors."""
        return self._has_answered and path == self.current

    def forget(self) -> None:
        """Begin anew: the server may be another one."""
        self._unknown = frozenset()
        self.current = self._candidates[0]
        self._has_answered = False

    def unknown(self, asked: str) -> bool:
        """The server does not know the path that was asked; return whether another is worth a call.

        Where none is known the first stands for all, so that the error names it.
        """
        if asked != self.current:  # another call has learned meanwhile
            return True
        if self._has_answered:
            return False
        self._unknown |= {asked}
        self.current = next((path for path in self._candidates if path not in self._unknown), self._candidates[0])
        return self.current not in self._unknown
