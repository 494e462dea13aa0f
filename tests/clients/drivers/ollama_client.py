"""The ollama client, with its old route too."""
# mypy: ignore-errors

import ollama
from report import MANY, ONE, SEVERAL, URL, refusal, value, vectors

MODEL = "all-minilm"
client = ollama.Client(host=URL)
later = ollama.AsyncClient(host=URL)


async def embed_later():
    return (await later.embed(model=MODEL, input=SEVERAL)).embeddings


vectors("text", [ONE], lambda: client.embed(model=MODEL, input=ONE).embeddings)
vectors("list", SEVERAL, lambda: client.embed(model=MODEL, input=SEVERAL).embeddings)
vectors("many", MANY, lambda: client.embed(model=MODEL, input=MANY).embeddings)
vectors("async list", SEVERAL, embed_later)
vectors("dimensions", [ONE], lambda: client.embed(model=MODEL, input=ONE, dimensions=32).embeddings, {"dimensions": 32})
vectors("old route", [ONE], lambda: [client.embeddings(model=MODEL, prompt=ONE).embedding], scaled=True)
value("models", lambda: [model.model for model in client.list().models])
refusal("empty text", lambda: client.embed(model=MODEL, input=["fine", ""]))
