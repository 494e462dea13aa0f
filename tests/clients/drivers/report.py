"""Tells what a client got: a JSON object for each case, one a line, on standard output.

``{"case", "texts", "vectors", "options", "bits", "scaled"}``: vectors of these texts; ``options`` are those of
    ``/embed`` that give the same, cases with the same word in ``bits`` have to agree to the last bit, and of a vector
    that is ``scaled`` only the direction counts.
``{"case", "value"}``: anything else that the client returned.
``{"case", "refusal", "class"}``: the words of the exception that a wrong call raised, and its class.
``{"case", "error"}``: the exception of a call that should have worked.
"""
# mypy: ignore-errors

import asyncio
import base64
import inspect
import json
import os
import struct

URL = os.environ["SERVICE_URL"]
MODEL = os.environ["SERVICE_MODEL"]
KEY = os.environ["SERVICE_KEY"]
ONE = "How do birds find their way?"
SEVERAL = [
    "first of several",
    "crème brûlée, 東京 ☂ 🚲",
    'a "quoted" word, a \\ and a\ttab',
    "words that go on " * 24,
]
#: More than TEI takes in one call.
MANY = [f"sentence number {number}" for number in range(50)]

_loop = asyncio.new_event_loop()


def vectors(case, texts, call, options=None, *, bits=None, scaled=False):
    """Tell the vectors that ``call`` returns, one for each of the texts."""
    about = {"texts": texts, "options": options or {}, "bits": bits, "scaled": scaled}
    _tell(case, call, lambda got: {**about, "vectors": _plain(got)})


def value(case, call):
    """Tell what ``call`` returns."""
    _tell(case, call, lambda got: {"value": _plain(got)})


def refusal(case, call):
    """Tell with which exception ``call`` fails."""
    try:
        got = _finished(call)
    except Exception as error:
        print(json.dumps({"case": case, "refusal": str(error)[:1000], "class": type(error).__name__}), flush=True)
    else:
        print(json.dumps({"case": case, "error": f"was answered: {got!r}"[:300]}), flush=True)


def unpacked(text):
    """Return the numbers of a base64 text of little-endian float32."""
    raw = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def _tell(case, call, told):
    try:
        fields = told(_finished(call))
    except Exception as error:
        fields = {"error": f"{type(error).__name__}: {error}"[:1000]}
    print(json.dumps({"case": case, **fields}), flush=True)


def _finished(call):
    got = call()
    return _loop.run_until_complete(got) if inspect.isawaitable(got) else got


def _plain(got):
    if hasattr(got, "tolist"):
        return got.tolist()
    if isinstance(got, (list, tuple)):
        return [_plain(each) for each in got]
    return got
