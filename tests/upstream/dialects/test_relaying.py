"""A server's words become one line that cannot deceive a terminal, a log or a client about its own request."""

from __future__ import annotations

import time

import pytest

from upstream.dialects.relaying import MAX_RELAYED_TEXT, plain, relayed, without_positions


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nb\tc\x0bd\x0ce\x85f\u2028g\u2029h\xa0i", "a b c d e f g h i"),
        ("  a   b  ", "a b"),
        ("\x1b[31mred\x1b[0m and \x1b[1;2Hmoved \x9b2Jcleared", "red and moved cleared"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1bPq#0\x9cc", "abc"),
        ("\x1bca\x1b(Bb\x1b", "ab"),
        ("nul\x00bell\x07back\x08delete\x7f", "nul bell back delete"),
        ("\u202eevil\u202c \u2066a\u2069\ufeff\u200b\u200f", "evil a"),
        ("\ud800half\udfff\U000e0041tag", "halftag"),
        (
            "joined \U0001f469\u200d\U0001f4bb, soft\u00adhyphen, none \u07bb",
            "joined \U0001f469\U0001f4bb, softhyphen, none",
        ),
        (
            "Incorrect API key provided: sk-abc123DEF. Bearer eyJhbGciOi.x-y",
            "Incorrect API key provided: sk-… Bearer …",
        ),
        ("task-force and risk-free stay", "task-force and risk-free stay"),
    ],
)
def test_a_text_becomes_one_plain_line(text: str, line: str) -> None:
    assert plain(text) == line


def test_it_is_cut() -> None:
    assert plain("x" * 600) == "x" * MAX_RELAYED_TEXT
    assert plain("x" * 600, 9) == "x" * 9
    assert plain("ab cd", 3) == "ab"


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("inputs[3] must be a string", "inputs must be a string"),
        ("`inputs[3]` is empty", "`inputs` is empty"),
        ("Invalid 'input[3]': string too long", "Invalid 'input': string too long"),
        ("'$.input[0]' is invalid", "'$.input' is invalid"),
        ("instances[0][2].text is empty", "instances.text is empty"),
        ("body -> inputs -> 0: field required", "body -> inputs: field required"),
        ("body.input.0 is no text", "body.input is no text"),
        ("/inputs/3: expected string", "/inputs: expected string"),
        ("Input 3 is too long", "Input is too long"),
        ("input #3: too long", "input: too long"),
        ("input no. 3: too long", "input: too long"),
        ("the 3rd input is too long", "the input is too long"),
        ("item 7 of 32 is too long", "item is too long"),
        ("document 7/32 is too long", "document is too long"),
        ("inputs 3, 5 and 7 are too long", "inputs are too long"),
        ("input at index 3 is empty", "input is empty"),
        ("failed at position 3: empty", "failed: empty"),
        ("too long (index 0)", "too long"),
        ("index 0: too long", "index: too long"),
        ("can't encode character '\\ud800' in position 120: no", "can't encode character '\\ud800': no"),
        ("expected value at line 1 column 31", "expected value"),
        ("unexpected end of data: line 1 column 14 (char 13)", "unexpected end of data"),
        ("The surrogate pair in string is invalid. at 12", "The surrogate pair in string is invalid."),
        ("[request id: 7] no", "no"),
        (" at index 3, no; (item 4)", "no"),
    ],
)
def test_positions_of_the_upstreams_call_are_left_out(text: str, neutral: str) -> None:
    assert without_positions(text) == neutral


@pytest.mark.parametrize(
    "text",
    [
        "`inputs` must have less than 512 tokens. Given: 1002",
        "`inputs` must have less than 64000 characters. Given: 100000",
        "batch size 33 > maximum allowed batch size 32",
        "input (3002 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
        "This model's maximum length is 256 tokens. However, your prompt contains 15000 characters (more than 4608)",
        "input 3002 tokens long",
        "expected 1 inputs but got 0 inputs for model 'minilm'",
        "index 999999 is out of bounds for axis 0 with size 30522",
        "matryoshka_dim=100000 is not in a valid range. Select between 1 and 384.",
        "List should have at most 2048 items after validation, not 2049",
        "unexpected shape for input 'text' for model 'minilm'. Expected [-1,1], got [3].",
        "cannot embed 'item 7 of my list, inputs[3]'",
        'cannot embed "row 5"',
        "text 3.5 MB",
        "int8 and utf-8 and 2D",
        "Error code: 400",
        "left as it is, ;",
        "",
    ],
)
def test_other_numbers_and_quoted_texts_stay(text: str) -> None:
    assert without_positions(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # A validator's text that broke off within the input that it repeats
        ("1 validation error for X\ninputs\n  Too long [type=too_long, input_value='secr", "inputs Too long"),
        ("Too long [type=too_long, input_value='secret'", "Too long"),
        # Sentences that only look like a validator's
        ("the field 'msg': 'no' is unknown", "the field 'msg': 'no' is unknown"),
        # Tracebacks: one that names no exception as Python does, and one behind other words
        ("Traceback (most recent call last):\n  File 'a'\nsegfault\n\n", "segfault"),
        (
            "Failed:\nTraceback (most recent call last):\n  x\nValueError: no\n\nAt:\n  /a.py(1): f\n",
            "Failed: ValueError: no",
        ),
        ("x" * 600 + "Traceback (most recent call last):\nValueError: no", "x" * 500),
        # What is left out makes room for what follows
        ("inputs[1] " * 100 + "end", ("inputs " * 100 + "end")[:500].strip()),
    ],
)
def test_a_sentence_is_relayed_without_what_only_the_server_needs(text: str, line: str) -> None:
    assert relayed(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]" * 30_000,
        "\x1b[1;" * 16_000,
        "x" + " " * 60_000 + "x",
        "[type=x, input_value=" * 3_000,
        "1 validation error:\n'msg': '" + "'msg': 'x\\" * 3_000,
        "Traceback (most recent call last)" + "\naaaaaaaaaaaa" * 5_000,
        "Traceback (most recent call last)" + "\n  At" * 10_000,
        "input 1,1,1,1,1,1, " * 3_000,
        "'a" * 30_000,
        "inputs -> 1" * 6_000,
        "1" * 60_000,
    ],
    ids=range(11),
)
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    assert len(relayed(text)) <= MAX_RELAYED_TEXT
    assert time.process_time() - start < 0.25  # some milliseconds; quadratic work would take minutes
