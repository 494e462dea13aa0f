"""KServe's Python server round the embedded model: ``kserve_server.py --http_port N --model_name NAME``."""
# mypy: ignore-errors

import argparse
import asyncio
import os
import threading

from kserve import Model, ModelServer, model_server

from embedded.model import load

BAD_TEXT = os.environ["BAD_TEXT"]


class Embedder(Model):
    def __init__(self, name):
        super().__init__(name)
        self.model = load()
        self.one_at_a_time = threading.Lock()
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        return {"predictions": await asyncio.to_thread(self.embed, payload["instances"])}

    def embed(self, texts):
        if BAD_TEXT in texts:
            raise ValueError("cannot embed this")
        with self.one_at_a_time:
            return self.model.embed([self.model.encode(text, truncate=True) for text in texts]).tolist()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    options, _ = parser.parse_known_args()
    ModelServer().start([Embedder(options.model_name)])
