"""Tells a call that was too large as a whole from an input that is too long by itself, by a server's words.

::

    words ──> of tokens or bytes of the call ──> of one input's length ──> of the number of items ──> of neither
              "Requested 350000 tokens, max       "maximum context          "batch size 33 > maximum
               300000 tokens per request"          length is 8192 tokens"    allowed batch size 32"

The patterns are of words that servers in use were seen to write, and of how such words vary. None runs over a quotation
mark into a figure. Words that a client wrote into its text, and that a server repeats, are told by ``is_echo``.
Pure; the work is bounded, for few characters are looked at and no gap in a pattern is long.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import msgspec

from upstream.dialects.dialect import SizeLimit
from upstream.dialects.relaying import MAX_READ, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batching.call import Item

#: Bytes of UTF-8 that are taken for one token. OpenAI's own check of a call's tokens counts so.
BYTES_PER_TOKEN = 4

#: Characters that are looked at, and words of which one stands in each sentence that tells of a size or a length.
MAX_LOOKED_AT = 400
_TELLS = re.compile(
    r"batch|too |max|limit|at most|than|exceed|allow|larger|<=|≤|context|length|tokens|large|up to|only|support|超过"
    r"|between|count|size|>|too_|split",
    re.IGNORECASE,
).search

_N = r"(?<!\d)\d[\d,_]{0,14}"
_HAD, _MOST = rf"(?P<had>{_N})", rf"(?P<most>{_N})"
_ITEMS = (
    r"(?:(?:inputs|items|texts|instances|documents|strings|sentences|elements?|entries|requests|prompts|contents|queries"
    r"|examples|records|rows|passages|chunks|pairs|embeddings)\b|(?:input|item|text|instance|document|element)\(s\))"
)
#: Words of a limit, between which and a figure no other figure stands.
_LIMIT = (
    r"(?:max(?:imum)?|limit(?:ed)?|at most|up to|only|allow(?:s|ed)?|exceed(?:s|ed)?|(?:more|larger|greater|less) than"
    r"|supports?|>|<=|≤)"
)
_NO_FIGURE = r"(?:[^\d'\"`]|(?<=\w)'(?=s\b))"
_OF_CALL = r"(?:batch|request|call|total|overall|submitted|submission|payload)"
_IN_CALL = rf"(?:in|per) (?:the |this |your |one |a )?{_OF_CALL}\b"
#: Up to a figure, which is a limit.
_BOUND = rf"{_NO_FIGURE}{{0,60}}?{_LIMIT}{_NO_FIGURE}{{0,40}}{_MOST}"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


def _all(*patterns: str) -> list[re.Pattern[str]]:
    return [re.compile(pattern, re.IGNORECASE) for pattern in patterns]


#: The tokens of all inputs together.
_OF_TOKENS = _all(
    rf"requested {_HAD} tokens, max {_MOST} tokens per request",  # OpenAI
    rf"request too large for \S{{1,80}}(?: \S{{1,80}}){{0,12}}? limit:? {_MOST}, requested:? {_HAD}",  # OpenAI, 429
    rf"too many tokens in (?:the )?batch\W{{1,3}}max(?:imum)? is {_MOST},? got {_HAD}",  # Mistral
    rf"max(?:imum)? (?:allowed )?tokens per (?:submitted )?{_OF_CALL} is {_MOST}"
    rf"(?:\W{{1,3}}your {_OF_CALL} has {_HAD} tokens)?",  # Voyage
    rf"(?:request|body|batch) (?:body )?too large\b[^'\"]{{0,120}}max size: {_MOST} tokens",  # GitHub's models
    rf"input token count (?:is |of )?\(?{_HAD}\)?\W{{1,3}}{_NO_FIGURE}{{0,60}}?{_MOST}",  # Vertex
    rf"total (?:number of )?(?:input )?tokens\W{{1,3}}{_HAD}\W{{1,3}}{_BOUND}",
    rf"{_OF_CALL}\b{_NO_FIGURE}{{0,40}}?{_HAD} tokens\W{_BOUND}",
    rf"{_HAD} tokens {_IN_CALL}{_BOUND}",
    rf"tokens {_IN_CALL}(?:\W{{1,3}}{_HAD}\W{{1,3}})?{_BOUND}",
    rf"{_LIMIT}{_NO_FIGURE}{{0,30}}{_MOST} tokens {_IN_CALL}",
    rf"\b{_OF_CALL} exceeds{_NO_FIGURE}{{0,40}}{_MOST} tokens\b",
    rf"too many tokens\W{{1,3}}{_HAD}\W{{1,3}}{_NO_FIGURE}{{0,30}}{_MOST}",
    r"max_tokens_per_request|too many tokens (?:overall|in total)",  # OpenAI's code, Mistral
    rf"too many (?:total )?tokens\b(?:{_NO_FIGURE}{{0,40}}{_OF_CALL}\b|\W{{0,2}}$)",
    rf"total (?:number of )?(?:input )?tokens\b{_NO_FIGURE}{{0,40}}?exceed",
)
#: The bytes of a body.
_OF_BYTES = _all(
    rf"(?:payload|body|request|content)(?: body)? size exceeds the limit: {_MOST} bytes",  # Google
    rf"(?:payload|body|entity|content|request)\b.{{0,20}}\btoo (?:large|big)\b(?:{_NO_FIGURE}{{0,60}}{_MOST} bytes\b)?",
    r"length limit exceeded|(?:payload|body|content)(?: body)? size\b.{0,30}exceed",
)
_OF_CONTEXT = r"context (?:length|window|size)\b"  # OpenAI, vLLM, Ollama, Voyage
_IS_OF_CONTEXT = _any(_OF_CONTEXT)
#: One input by itself.
_OF_LENGTH = _any(
    _OF_CONTEXT,
    r"is too large to process\b.{0,4}(?:increase|please increase) the physical batch size",  # llama.cpp's server
    r"prefill \d+ tokens exceed|too big compared to KV size",  # llama-box
    r"expected maxLength\b",  # Bedrock
    r"\b(?:input|sequence|text|prompt|token|document|passage|query|string) (?:length|size)\b.{0,40}\d",
    r"\bmax(?:imum)? (?:input|sequence|text|prompt|document) length\b",
    r"\b(?:inputs?|sequences?|texts?|prompts?|documents?|passages?|query|queries|strings?|examples?|it)\b"
    r"(?:(?!array|list|batch)[^.]){0,60}\btoo long\b",
    r"\b(?:input|sequence|text|prompt|document|passage|query|string|example)s?\b[^.]{0,60}"
    r"\b(?:too many|exceeds?\b[^.]{0,20}) (?:tokens|characters)\b",
    r"(?:less|fewer|more|longer|greater) than (?:or equal to )?\d[\d,]* (?:tokens|characters|chars)\b",  # TEI
    r"(?:at most|up to|limit of|limit is|max(?:imum)?(?: \w+){0,3}?|exceeds?(?: \w+){0,4}?) \d[\d,]* "
    r"(?:tokens|characters|chars)\b",
    r"\d[\d,]* (?:tokens|characters|chars)\b.{0,60}(?:exceeds?|too long|limit|maximum|at most|longer)\b",
)
#: The number of inputs, in words of one server that the general ones below would read wrongly.
_OF_ITEMS_FIRST = _all(
    rf"(?:largest allowed|maximum) (?:input )?(?:list |array )?size {_MOST}\.?$",  # Jina
    rf"batchSize value of {_HAD} but the supported range is from \d+ \(inclusive\) to (?P<above>{_N}) \(exclusive\)",
    r"(?<!tokens in )(?<!tokens per )(?<!tokens in the )"
    rf"batch(?:[ _-]?size)?(?: of| exceeded)?\W{{0,3}}{_HAD}\)?(?: {_ITEMS})?\W{{0,3}}"
    rf"(?:>|exceeds?|is (?:larger|greater|more|bigger) than|over){_NO_FIGURE}{{0,60}}{_MOST}",  # TEI
    rf"batch[ _-]?size\W{{0,3}}{_HAD}\W{{1,3}}{_NO_FIGURE}{{0,40}}{_LIMIT}{_NO_FIGURE}{{0,10}}{_MOST}",
    rf"batch(?:[ _-]?size)? limit exceeded\W{{0,3}}(?:{_HAD}\s?/\s?{_MOST})?",
)
_OF_ITEMS = _all(
    rf"batch[ _-]?size\b{_NO_FIGURE}{{0,60}}?(?:{_LIMIT}|equal to|is|=){_NO_FIGURE}{{0,40}}{_MOST}",
    rf"max(?:imum)?(?: allowed)? batch[ _-]?size(?: is| of)?\W{{0,3}}{_MOST}",
    rf"between \d+ and {_MOST} {_ITEMS}",
    rf"exceeds?{_NO_FIGURE}{{0,20}}{_MOST}[ -](?:input|item|text|document|instance|string)s? (?:limit|maximum)",
    rf"{_MOST} {_ITEMS} (?:is|are|can be) (?:allowed|permitted|supported|accepted)",  # Vertex
    rf"number of {_ITEMS}\W{{1,3}}{_HAD}\W{{1,3}}{_NO_FIGURE}{{0,60}}?{_MOST}",
    rf"number of {_ITEMS}{_NO_FIGURE}{{0,60}}{_MOST}",
    rf"{_HAD} {_ITEMS}{_BOUND}",
    rf"(?:at most|not? more than|more than|fewer than|less than|up to|only|<=|≤) ?(?:or equal to )?{_MOST} {_ITEMS}",
    rf"(?:max(?:imum)?|limit)(?: \w+){{0,4}}? {_MOST} {_ITEMS}",
    rf"{_ITEMS}{_NO_FIGURE}{{0,60}}less than or equal to {_MOST}",  # Cohere
    rf"{_ITEMS} (?:length|count|size)\W{{1,3}}(?:{_HAD}\W{{1,3}})?{_BOUND}",
    rf"\blen\({_ITEMS}\)\s?={{1,2}}\s?{_HAD}{_NO_FIGURE}{{1,30}}{_MOST}",
    rf"\blen\({_ITEMS}\){_NO_FIGURE}{{0,30}}?{_LIMIT}{_NO_FIGURE}{{0,10}}{_MOST}",
    rf"(?:array|list)\b[^'\"\d]{{0,4}}too long\b{_NO_FIGURE}{{0,60}}{_MOST}",  # OpenAI
    rf"(?:maximum item count|maxItems)\W{{1,3}}{_MOST}",  # Bedrock
    rf"数组最大不得超过\s?{_MOST}\s?条",  # Zhipu
    rf"too many {_ITEMS}[^'\"`]{{0,120}}?{_LIMIT}{_NO_FIGURE}{{0,40}}{_MOST}",
    rf"batch(?: size)?(?: is| was)? too (?:large|big|long)\b[^'\"`]{{0,80}}?{_LIMIT}{_NO_FIGURE}{{0,40}}{_MOST}",
    rf"max(?:imum)? number of {_ITEMS}[^'\"`]{{0,20}}exceed",
    rf"too many {_ITEMS}|batch(?: size)?(?: is| was)? too (?:large|big|long)\b",
    r"split (?:it |them )?into (?:more|smaller) batches|reduce (?:the |your )?batch[ _-]?size",
    rf"field validation for '{_ITEMS}' failed on the '(?:max|lte)' tag",  # Go's validator
)
#: Old versions of TEI answer 413 to whatever is wrong with an input.
_OF_VALIDATION = re.compile(r"(?:^|- )Input validation error: ")


def size_of(status: int, text: str) -> SizeLimit | None:
    """Return what a refusal says of the limits of a whole call; None where it is not about that."""
    found = _find(text)
    if found is not None:
        return found[0]
    if status == 413 and not concerns_length(text) and not _OF_VALIDATION.search(text):
        return SizeLimit(of_items=False)
    return None


def concerns_length(text: str) -> bool:
    """Whether words of which ``size_of`` makes nothing are about the length of one input."""
    return _OF_LENGTH.search(text[:MAX_LOOKED_AT]) is not None


def is_echo(text: str, items: Iterable[Item]) -> bool:
    """Whether the words that tell of a size or a length stand in one of the inputs: a client may have chosen them."""
    found = _find(text)
    of_length = _OF_LENGTH.search(text[:MAX_LOOKED_AT])
    span = found[1] if found is not None else of_length[0] if of_length is not None else ""
    said = _bare(span)
    return bool(said) and any(said in _bare(words) for item in items for words in _strings(item))


def _find(text: str) -> tuple[SizeLimit, str] | None:
    """Return the limit of a call that the words tell of, and the words that do."""
    text = text[:MAX_LOOKED_AT]
    if not _TELLS(text) or _IS_OF_CONTEXT.search(text):
        return None
    for pattern in _OF_ITEMS_FIRST:
        if found := pattern.search(text):
            return _of_items(found), found[0]
    for pattern in _OF_TOKENS:
        if found := pattern.search(text):
            figures = found.groupdict()
            return SizeLimit(False, None, _figure(figures.get("most")), _figure(figures.get("had"))), found[0]
    for pattern in _OF_BYTES:
        if found := pattern.search(text):
            most = _figure(found.groupdict().get("most"))
            return SizeLimit(False, None, most and most // BYTES_PER_TOKEN), found[0]
    if _OF_LENGTH.search(text):
        return None
    found = next(filter(None, (pattern.search(text) for pattern in _OF_ITEMS)), None)
    return None if found is None else (_of_items(found), found[0])


def _of_items(found: re.Match[str]) -> SizeLimit:
    figures = found.groupdict()
    above = _figure(figures.get("above"))
    return SizeLimit(of_items=True, most_items=above - 1 if above else _figure(figures.get("most")))


def _figure(digits: str | None) -> int | None:
    """Return the number that was written, None for none and for 0."""
    return int(digits.replace(",", "").replace("_", "")) or None if digits else None


def _bare(text: str) -> str:
    """Return the letters and digits without case and accents: models that ignore these may repeat a text without."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))


def _strings(item: Item) -> list[str]:
    """Return the texts of an input, with spaces as in the words of a server."""
    try:
        value = msgspec.json.decode(item)
    except (msgspec.DecodeError, RecursionError):
        return []
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [plain(each, MAX_READ) for each in texts if isinstance(each, str)]
