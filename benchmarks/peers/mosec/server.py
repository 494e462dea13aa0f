"""Batching in front of an embedding server, done with mosec: batch 32, 10 ms wait, one worker."""

import os

import msgspec
import requests
from mosec import Server, Worker


class EmbedBody(msgspec.Struct):
    """TEI's body for one text."""

    inputs: str


_decode_body = msgspec.json.Decoder(EmbedBody).decode
_decode_vectors = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Embed(Worker):
    """Sends the batch upstream in one call and hands every client its slice, verbatim."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._url = os.environ["UPSTREAM_URL"] + "/embed"

    def deserialize(self, data: bytes) -> str:
        """Request body to text; runs in the worker."""
        return _decode_body(data).inputs

    def forward(self, data: list[str]) -> list[bytes]:
        """One upstream call per batch."""
        body = msgspec.json.encode({"inputs": data})
        reply = self._session.post(self._url, data=body, headers={"Content-Type": "application/json"}, timeout=30)
        reply.raise_for_status()
        return [b"[%b]" % bytes(vector) for vector in _decode_vectors(reply.content)]

    def serialize(self, data: bytes) -> bytes:
        """Already JSON."""
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Embed, num=1, max_batch_size=32, max_wait_time=10, route="/embed")
    server.run()
