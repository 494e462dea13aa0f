"""What is known of the upstreams, for the routes that tell clients about models and limits."""

from __future__ import annotations

from typing import NamedTuple


class About(NamedTuple):
    """What the upstreams have told, or what is known of their kind."""

    #: The kind of server: ``tei``, ``openai``, ``kserve`` or ``plain``.
    api: str
    #: The model that is served where a request names none; None where no upstream has told.
    model: str | None = None
    #: The names of the models that may be asked for; empty where no upstream has told.
    models: tuple[str, ...] = ()
    #: TEI's ``/info`` as it was answered.
    info: bytes | None = None
    #: Items of one request.
    max_items: int = 1
