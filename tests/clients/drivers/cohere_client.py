"""The cohere SDK, with both versions of its API."""
# mypy: ignore-errors

import cohere
from report import KEY, MANY, ONE, SEVERAL, URL, refusal, unpacked, vectors

one = cohere.Client(api_key=KEY, base_url=URL)
two = cohere.ClientV2(api_key=KEY, base_url=URL)
later = cohere.AsyncClientV2(api_key=KEY, base_url=URL)
COMMON = {"model": "embed-english-v3.0", "input_type": "search_document"}
FLOAT = {**COMMON, "embedding_types": ["float"]}


async def embed_later():
    return (await later.embed(texts=SEVERAL, **FLOAT)).embeddings.float_


def in_base64():
    answer = two.embed(texts=[ONE], **COMMON, embedding_types=["base64"])
    return [unpacked(text) for text in answer.embeddings.base64]


vectors("v1 list", SEVERAL, lambda: one.embed(texts=SEVERAL, **COMMON).embeddings)
vectors("v1 many", [*MANY, *MANY], lambda: one.embed(texts=[*MANY, *MANY], **COMMON).embeddings)
vectors("v1 types", SEVERAL, lambda: one.embed(texts=SEVERAL, **FLOAT).embeddings.float_)
vectors("v2 text", [ONE], lambda: two.embed(texts=[ONE], **FLOAT).embeddings.float_, bits="one")
vectors("v2 list", SEVERAL, lambda: two.embed(texts=SEVERAL, **FLOAT).embeddings.float_)
vectors("v2 async list", SEVERAL, embed_later)
vectors("v2 base64", [ONE], in_base64, bits="one")
vectors(
    "v2 dimension",
    [ONE],
    lambda: two.embed(texts=[ONE], **FLOAT, output_dimension=32).embeddings.float_,
    options={"dimensions": 32},
)
refusal("empty text", lambda: two.embed(texts=["fine", ""], **FLOAT))
