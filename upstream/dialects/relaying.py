"""Makes one line out of a server's words that may go to a log and to a client.

::

    sentence ──> without echoes ──> plain ──────────────────────> without positions
                 of inputs, and      no line break, escape of a    of the upstream's call, which mean
                 no traceback        terminal, control or key      something else to a client

Pure; the work is linear in what is read of the sentence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Characters of a server's words that are passed on.
MAX_RELAYED_TEXT = 500
#: Characters at either end of a text that are looked at.
MAX_READ = 8192
#: Sentences of one error that are passed on.
MAX_SENTENCES = 5


def relayed(text: str) -> str:
    """Return a server's sentence as it may be passed on: one line of at most 500 characters."""
    return without_positions(plain(_without_echoes(text), 4 * MAX_RELAYED_TEXT))[:MAX_RELAYED_TEXT].rstrip()


def joined(sentences: Iterable[str]) -> str:
    """Return the first few sentences that are not empty, each once."""
    return "; ".join(list(dict.fromkeys(filter(None, sentences)))[:MAX_SENTENCES])


# ---- echoes and tracebacks ----------------------------------------------------------------------

_TRACEBACK = "Traceback (most recent call last)"
#: The line of a traceback that names the exception; the last one is that which was not caught.
_RAISED = re.compile(r"^[A-Za-z_][\w.]{0,200}(?:Error|Exception|Exit|Interrupt|Warning)\b[^\n]*", re.MULTILINE)
#: Where Triton's Python backend was when it failed, which stands behind the exception.
_AT = re.compile(r"\n\s{0,10}At:\n.*", re.DOTALL)
#: The errors of pydantic as vLLM and FastAPI print them, and as pydantic does.
_PRINTED = re.compile(r"""'msg': (?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
_COUNTED = re.compile(r"\d+ validation errors?(?: for \w{1,100})?:?\s*\n", re.MULTILINE)
_ECHO = re.compile(r"\[type=\w{1,100}, input_value=.*?, input_type=\w{1,100}\]", re.DOTALL)
_ECHO_CUT_OFF = re.compile(r"\[type=\w{1,100}, input_value=.*", re.DOTALL)
_FURTHER = re.compile(r"For further information visit \S{1,200}")


def _without_echoes(text: str) -> str:
    """Return the sentence without the inputs that a validator repeats, and without the frames of a traceback."""
    before, traced, _ = text.partition(_TRACEBACK)
    if traced:
        before = plain(before.strip()[:MAX_RELAYED_TEXT], MAX_RELAYED_TEXT)
        text = f"{before} {_raised(_AT.sub('', text[-MAX_READ:]))}"
    text = text[:MAX_READ]
    if _COUNTED.match(text) or ("'msg': " in text and "'loc': " in text):
        text = joined(each[1] or each[2] for each in _PRINTED.finditer(text)) or _COUNTED.sub("", text, count=1)
    return _FURTHER.sub("", _ECHO_CUT_OFF.sub("", _ECHO.sub("", text)))


def _raised(traceback: str) -> str:
    """Return the last line of a traceback that names an exception, or its last line."""
    lines = [each[0] for each in _RAISED.finditer(traceback)]
    return lines[-1] if lines else traceback.rstrip().rpartition("\n")[2]


#: Escape sequences of terminals: CSI, OSC and the like (which may be long, and need no end), two characters.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,64}[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]{0,256}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,8}[0-~]?"
)
#: Whitespace of any kind, controls, and marks between or around words that show nothing.
_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u2069\ufeff]+")
_SECRETS = re.compile(r"\b(Bearer\s+)[\w.~+/=*-]{4,}|\b(sk-)[\w*.-]{4,}", re.IGNORECASE)


def plain(text: str, limit: int = MAX_RELAYED_TEXT) -> str:
    """Return a text as one line without terminal escapes and keys, cut to ``limit`` printable characters."""
    text = _SPACES.sub(" ", _ESCAPES.sub("", text[:MAX_READ]))
    if not text.isprintable():  # halves of surrogate pairs, tags, what Unicode has not assigned
        text = "".join(filter(str.isprintable, text))
    return _SECRETS.sub(r"\1\2…", text).strip()[:limit].rstrip()


# ---- positions ----------------------------------------------------------------------------------

#: A quoted text is the client's own, and stays as it is.
_QUOTED = re.compile(r"""((?<!\w)'[^']*'(?!\w)|(?<!\w)"[^"]*"(?!\w))""")
#: A quoted path: the name of a member, as in OpenAI's "Invalid 'input[3]'".
_QUOTED_PATH = re.compile(r"""['"][^\s'"]+(?:\s*->\s*[^\s'"]+)*['"]""").fullmatch
_NAMES = (
    r"(?:inputs?|instances|texts?|sentences?|documents?|prompts?|data|items?|elements?|batch|contents?|quer(?:y|ies))"
)
_NOUNS = (
    r"(?:(?:input|instance|text|sentence|sequence|passage|document|prompt|item|element|row|record|sample|example|chunk)s?"
    r"|entry|entries|query|queries|index|indices|indexes|positions?)"
)
#: `3`, `3, 4 and 5`, `3-5`
_NUMBERS = r"#?\d{1,6}\b(?:\s*(?:,|-|\band\b|\bor\b|\bto\b|,\s*and\b)\s*#?\d{1,6}\b){0,50}"
#: Numbers that count something, compare, or are a part of a larger number are no positions.
_NO_COUNT = (
    r"(?![.,]?\d|\s*[<>=%*+-]|\s+(?:tokens?|characters?|chars?|bytes?|words?|[kKMG]i?B|dims?|dimensions?|numbers?"
    r"|inputs|items|elements|texts|is\s+out\s+of\s+(?:bounds|range)|or|and|to)\b)"
)
#: `inputs[3]`, `body.inputs.3`, `/inputs/3`, `body -> inputs -> 3`
_OF_MEMBERS = re.compile(rf"\b({_NAMES})(?:\[\d+\]|[./]\d+\b(?!\.\d)|\s*(?:->|→)\s*\d+\b)+", re.IGNORECASE)
_RULES = [
    # `at line 1 column 40 (char 39)`, and Triton's ` at 14`: of the body that the upstream was sent.
    (r"[,:]?\s*\b(?:at\s+)?line \d+,? column \d+(?:\s*\(char \d+\))?|\s*\(char \d+\)|(?<=\.) at \d+$", ""),
    (r"^\[request id: [^\]]{1,80}\] ", ""),
    # `the 3rd input`, ` at index 3`, `(item 3)`, `item 3 of 32`, `input #3`, `inputs 3, 4 and 5`
    (rf"\b\d+(?:st|nd|rd|th)\s+({_NOUNS})\b", r"\1"),
    (rf"\s*\b(?:at|in)\s+(?:index|indices|positions?|offset)\s+{_NUMBERS}{_NO_COUNT}", ""),
    (rf"\s*\((?:at\s+)?{_NOUNS}\s+{_NUMBERS}\)", ""),
    (rf"\b({_NOUNS})\s+(?:no\.\s*|number\s+)?{_NUMBERS}(?:\s+of\s+\d+\b|\s*/\s*\d+\b)?{_NO_COUNT}", r"\1"),
]
_ELSEWHERE = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in _RULES]


def without_positions(text: str) -> str:
    """Return a sentence without the positions in it: they are those of the upstream's call, not of a client's."""
    parts = _QUOTED.split(text)
    parts[0::2] = [_without_any(part) for part in parts[0::2]]
    parts[1::2] = [_OF_MEMBERS.sub(r"\1", part) if _QUOTED_PATH(part) else part for part in parts[1::2]]
    kept = "".join(parts)
    return kept if kept == text else kept.strip(" ,;")


def _without_any(part: str) -> str:
    part = _OF_MEMBERS.sub(r"\1", part)
    for pattern, instead in _ELSEWHERE:
        part = pattern.sub(instead, part)
    return part
