"""The openai SDK with its default of two repeats, at a service whose upstream does not answer or fails."""
# mypy: ignore-errors

import time

import openai
from report import KEY, MODEL, ONE, URL, refusal, value

calls = []
http = openai.DefaultHttpxClient(event_hooks={"request": [calls.append]})


def embed(**more):
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, http_client=http, **more)
    return client.embeddings.create(model=MODEL, input=ONE)


def failed(**more):
    """Return the exception's class, how often the SDK asked, and the seconds that it took."""
    calls.clear()
    began = time.monotonic()
    try:
        embed(**more)
    except openai.APIError as error:
        return [type(error).__name__, len(calls), time.monotonic() - began]
    return ["answered", len(calls), time.monotonic() - began]


value("deadline of the service", failed)
value("time-out of the client", lambda: failed(timeout=2.0))
refusal("words", lambda: embed(max_retries=0))
