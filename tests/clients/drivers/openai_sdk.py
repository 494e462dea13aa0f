"""The openai SDK, waiting and not waiting, with its defaults and every form of an input."""
# mypy: ignore-errors

import asyncio

import openai
from report import KEY, MANY, MODEL, ONE, SEVERAL, URL, refusal, unpacked, value, vectors

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
later = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
without_v1 = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)
azure = openai.AzureOpenAI(azure_endpoint=URL, api_key=KEY, api_version="2024-10-21", max_retries=0)
IDS = [101, 2129, 2079, 5055, 102]


def embed(given, by=client, **more):
    return [item.embedding for item in by.embeddings.create(model=MODEL, input=given, **more).data]


async def embed_later(given, **more):
    return [item.embedding for item in (await later.embeddings.create(model=MODEL, input=given, **more)).data]


async def all_at_once():
    return [found[0] for found in await asyncio.gather(*(embed_later(text) for text in MANY))]


def numbering():
    answer = client.embeddings.create(model=MODEL, input=SEVERAL)
    usage = answer.usage
    return {
        "object": answer.object,
        "model": answer.model,
        "index": [item.index for item in answer.data],
        "usage": [usage.prompt_tokens, usage.total_tokens],
        "type": client.embeddings.with_raw_response.create(model=MODEL, input=ONE).headers["content-type"],
    }


async def usages():
    """Return the tokens of each of several calls at once, which may share batches, and of one call with all texts."""
    answers = await asyncio.gather(*(later.embeddings.create(model=MODEL, input=text) for text in SEVERAL))
    together = await later.embeddings.create(model=MODEL, input=SEVERAL)
    return [[answer.usage.total_tokens for answer in answers], together.usage.total_tokens]


vectors("text", [ONE], lambda: embed(ONE), bits="one")
vectors("list", SEVERAL, lambda: embed(SEVERAL))
vectors("many", MANY, lambda: embed(MANY))
vectors("async text", [ONE], lambda: embed_later(ONE), bits="one")
vectors("async list", SEVERAL, lambda: embed_later(SEVERAL))
vectors("async, all at once", MANY, all_at_once)
vectors("float", [ONE], lambda: embed(ONE, encoding_format="float"), bits="one")
vectors("base64", [ONE], lambda: [unpacked(found) for found in embed(ONE, encoding_format="base64")], bits="one")
vectors("base64 list", SEVERAL, lambda: [unpacked(found) for found in embed(SEVERAL, encoding_format="base64")])
vectors("token ids", [IDS], lambda: embed(IDS))
vectors("lists of token ids", [IDS, IDS[:3]], lambda: embed([IDS, IDS[:3]]))
vectors("dimensions", [ONE], lambda: embed(ONE, dimensions=32), options={"dimensions": 32})
vectors("user", [ONE], lambda: embed(ONE, user="a user"), bits="one")
vectors("base URL without v1", [ONE], lambda: embed(ONE, by=without_v1), bits="one")
vectors("azure", SEVERAL, lambda: embed(SEVERAL, by=azure))
value("numbering", numbering)
value("usages", usages)
value("models", lambda: [model.id for model in client.models.list()])
value("model", lambda: client.models.retrieve(MODEL).id)
refusal("empty text", lambda: embed(["fine", ""]))
refusal("no text", lambda: embed([]))
refusal("wrong type", lambda: embed({"text": "a"}))
refusal("unknown route", lambda: client.chat.completions.create(model=MODEL, messages=[]))
