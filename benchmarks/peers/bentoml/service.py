"""Batching in front of an embedding server, done with BentoML's adaptive batching: batch 32, one worker."""

from __future__ import annotations

import os
from typing import Annotated

import bentoml
import requests
from pydantic import BeforeValidator

#: TEI's clients send one text bare; a batchable BentoML API takes lists only.
Texts = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


# Without this, a log line per request would add to the measured cost.
@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Embed:
    """Sends the batch upstream in one call."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._url = os.environ["UPSTREAM_URL"] + "/embed"

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=30000, route="/embed")
    def embed(self, inputs: Texts) -> list[list[float]]:
        """One upstream call per batch."""
        reply = self._session.post(self._url, json={"inputs": inputs}, timeout=30)
        reply.raise_for_status()
        vectors: list[list[float]] = reply.json()
        return vectors
