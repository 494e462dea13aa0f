"""What a check has found is told as aligned text, and as JSON."""

from __future__ import annotations

import json

from wiring.check.findings import UpstreamFindings, pair_members, table
from wiring.check.payoff import Pair

PAIRS = [Pair(1, 47.0, 45.5, 1.0), Pair(64, 49.0, 829.04, 31.97)]


def found() -> UpstreamFindings:
    return UpstreamFindings(
        "http://upstream",
        "speaks TEI's API",
        model="minilm",
        most_items=32,
        most_at_once=512,
        dimension=384,
        first_call=0.0213,
        times={1: 0.0205, 2: 0.021, 4: 0.022},
    )


def test_an_upstream_is_told_with_its_model_its_limits_and_its_times() -> None:
    assert found().lines() == [
        "upstream http://upstream speaks TEI's API",
        "  model: minilm; limits: 32 texts a call, 512 calls at once",
        "  one text: a vector of 384 numbers in 21.3 ms",
        "",
        "  a call of n texts takes 20.0 + 0.50·n ms",
        "  texts    ms  by the line  texts/s",
        "      1  20.5         20.5       49",
        "      2  21.0         21.0       95",
        "      4  22.0         22.0      182",
        "",
    ]


def test_an_upstream_that_cannot_be_used_is_told_with_the_reason() -> None:
    down = UpstreamFindings("http://upstream", "it does not answer", problem="connection refused")
    assert not down.is_ready
    assert down.lines() == ["upstream http://upstream it does not answer", "  not ready: connection refused"]


def test_an_upstream_that_tells_nothing_of_itself_and_was_not_measured_takes_two_lines() -> None:
    plain = UpstreamFindings("http://upstream", dimension=8, first_call=0.001)
    assert plain.lines()[1:] == [
        "  model: not told; limits: none told",
        "  one text: a vector of 8 numbers in 1.0 ms",
    ]


def test_why_larger_calls_were_not_measured_is_told() -> None:
    stopped = UpstreamFindings("http://upstream", times={1: 0.01}, stopped_by="calls of 2 texts are refused: no")
    assert stopped.lines()[-1] == "  calls of 2 texts are refused: no"


def test_crowds_are_told_in_columns() -> None:
    assert table(PAIRS) == [
        "  clients  one by one, requests/s  batched, requests/s   gain  texts a call",
        "        1                      47                   46   0.97           1.0",
        "       64                      49                  829  16.92          32.0",
    ]


def test_the_same_is_told_as_json_with_milliseconds() -> None:
    members = json.loads(json.dumps({"upstream": found().members(), "crowds": pair_members(PAIRS)}))
    assert members["upstream"]["ready"]
    assert members["upstream"]["call_ms"] == {"1": 20.5, "2": 21.0, "4": 22.0}
    assert members["upstream"]["fixed_ms"] == 20.0
    assert members["upstream"]["limits"] == {"texts": 32, "tokens": None, "calls_at_once": 512}
    assert members["crowds"][1] == {
        "clients": 64,
        "direct_per_second": 49.0,
        "batched_per_second": 829.0,
        "gain": 16.919,
        "batch_size": 31.97,
    }
