"""The load tool: its arithmetic, its tables, and one short run against the simulated upstream."""

import itertools
import json
import random
import sys
from collections import Counter

import pytest

from benchmarks import compare, load, precise_loop, processes, report, schedule, wire
from benchmarks.client import Connection, Recording, closed_loop, open_loop
from benchmarks.optimum import crowd_optimum


class TestPercentiles:
    """Nearest rank: always a value that was measured."""

    def test_median_of_an_odd_count_is_the_middle_value(self):
        assert report.percentile([1, 2, 3, 4, 5], 0.5) == 3

    def test_ninety_ninth_of_a_hundred_is_the_ninety_ninth(self):
        assert report.percentile(range(1, 101), 0.99) == 99

    def test_the_whole_is_the_maximum(self):
        assert report.percentile([1, 7], 1.0) == 7

    def test_a_single_value_is_every_percentile(self):
        assert [report.percentile([4], share) for share in (0.0, 0.5, 1.0)] == [4, 4, 4]

    def test_nothing_measured_is_an_error(self):
        with pytest.raises(ValueError, match="no values"):
            report.percentile([], 0.5)


class TestSchedule:
    """The send times of an open loop."""

    def test_times_ascend_and_stay_inside_the_run(self):
        times = schedule.poisson_times(200, 5, seed=1)
        assert sorted(times) == times
        assert times[0] > 0
        assert times[-1] < 5

    def test_the_same_seed_gives_the_same_times_and_another_does_not(self):
        assert schedule.poisson_times(50, 2, seed=3) == schedule.poisson_times(50, 2, seed=3)
        assert schedule.poisson_times(50, 2, seed=3) != schedule.poisson_times(50, 2, seed=4)

    def test_rate_and_spread_are_those_of_a_poisson_process(self):
        times = schedule.poisson_times(1000, 20, seed=5)
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        mean = sum(gaps) / len(gaps)
        deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
        assert mean == pytest.approx(0.001, rel=0.03)
        assert deviation == pytest.approx(mean, rel=0.05)

    @pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (1, 0)])
    def test_rates_and_lengths_must_be_positive(self, rate, seconds):
        with pytest.raises(ValueError, match="positive"):
            schedule.poisson_times(rate, seconds, seed=1)

    def test_texts_are_distinct_and_of_the_asked_lengths(self):
        texts = schedule.texts(9, (1, 8, 32), seed=1)
        assert len(set(texts)) == 9
        assert [len(text.split()) for text in texts] == [1, 8, 32] * 3

    def test_bodies_hold_one_text_or_full_batches(self):
        assert [json.loads(b) for b in schedule.bodies(["a", "b"], 1)] == [{"inputs": "a"}, {"inputs": "b"}]
        assert [json.loads(b) for b in schedule.bodies(["a", "b", "c"], 2)] == [{"inputs": ["a", "b"]}]


class TestOptimum:
    """The best cyclic schedule of a closed crowd."""

    def test_a_crowd_that_fits_one_batch_travels_together(self):
        best = crowd_optimum(16, fixed=0.004, per_item=0.0001, away=0.0013)
        assert best == pytest.approx(16 / (0.004 + 0.0016 + 0.0013))

    def test_two_full_batches_keep_the_upstream_busy(self):
        best = crowd_optimum(64, fixed=0.004, per_item=0.0001, away=0.0013)
        assert best == pytest.approx(32 / (0.004 + 0.0032))

    def test_a_crowd_that_is_long_away_is_better_split(self):
        together = 16 / (0.001 + 0.016 + 0.005)
        best = crowd_optimum(16, fixed=0.001, per_item=0.001, away=0.005)
        assert best == pytest.approx(16 / (2 * 0.001 + 0.016))
        assert best > together

    def test_one_more_than_a_batch_does_not_halve_the_batches(self):
        best = crowd_optimum(33, fixed=0.004, per_item=0.0001)
        assert best >= 32 / (0.004 + 0.0032)

    def test_one_client_gets_one_item_in_each_round_trip(self):
        assert crowd_optimum(1, fixed=0.02, per_item=0.0005, away=0.001) == pytest.approx(1 / 0.0215)

    def test_servers_share_the_work(self):
        alone = crowd_optimum(64, fixed=0.02, per_item=0.0005)
        assert crowd_optimum(64, fixed=0.02, per_item=0.0005, servers=2) == pytest.approx(2 * alone)

    def test_a_crowd_of_none_is_refused(self):
        with pytest.raises(ValueError, match="at least 1"):
            crowd_optimum(0, fixed=1, per_item=1)

    def test_no_simulated_schedule_beats_it(self):
        """Random cohorts, simulated call by call on a serial upstream, stay below the formula."""
        randomness = random.Random(7)
        for _ in range(300):
            clients, limit = randomness.randint(1, 70), randomness.choice([8, 32])
            fixed, per_item = randomness.uniform(0.5, 20), randomness.uniform(0.05, 1)
            away = randomness.uniform(0, 5)
            sizes, left = [], clients
            while left:
                sizes.append(randomness.randint(1, min(limit, left)))
                left -= sizes[-1]
            free, back, served = 0.0, [0.0] * len(sizes), 0
            for turn in range(60 * len(sizes)):
                cohort = turn % len(sizes)
                free = max(free, back[cohort]) + fixed + per_item * sizes[cohort]
                back[cohort] = free + away
                served += sizes[cohort]
            best = crowd_optimum(clients, fixed=fixed, per_item=per_item, away=away, max_batch=limit)
            assert served / free <= best * 1.03  # in the first cycle all clients are present at once


class TestReport:
    """Figures, tables and files."""

    def test_tables_are_aligned_markdown(self):
        table = report.table(["service", "p50 ms"], [["proxy", 21.456], ["ideal", None]])
        assert table.splitlines() == [
            "| service | p50 ms |",
            "|---------|-------:|",
            "| proxy   |   21.5 |",
            "| ideal   |      - |",
        ]

    @pytest.mark.parametrize(
        ("value", "text"), [(None, "-"), (0.0123456, "0.0123"), (99.96, "100"), (3, "3"), (1234.5, "1234")]
    )
    def test_numbers_have_three_significant_digits(self, value, text):
        assert text == report.number(value)

    def test_spread_is_the_median_between_the_extremes(self):
        assert str(report.spread([9, 1, 2])) == "2 [1-9]"

    def test_mean_batch_counts_batches_not_replies(self):
        # one batch of 32 (32 replies say so) and one of 2
        assert report.mean_size({32: 32, 2: 2}) == 17

    def test_summary_divides_by_good_replies(self):
        recording = Recording([0.010, 0.030], Counter({"429": 3}), Counter({2: 2}), 2.0, 0.001)
        before = processes.Usage(1.0, 100, 10, 5_000_000, 4)
        after = processes.Usage(1.5, 110, 14, 6_000_000, 4)
        summary = report.summarize(recording, items_per_request=8, before=before, after=after)
        assert (
            summary.requests,
            summary.items,
            summary.requests_per_second,
            summary.items_per_second,
        ) == (2, 16, 1.0, 8.0)
        assert (
            summary.cpu_us,
            summary.voluntary_switches,
            summary.involuntary_switches,
            summary.rss_mb,
        ) == (250_000, 5, 2, 6)
        assert summary.errors == {"429": 3}
        assert "429: 3" in report.summary_table(summary)

    def test_a_run_without_a_good_reply_still_makes_a_table(self):
        summary = report.summarize(Recording(errors=Counter({"connect": 5}), seconds=1.0))
        assert summary.p50_ms is None
        assert "connect: 5" in report.summary_table(summary)

    def test_json_takes_dataclasses(self, tmp_path):
        report.write_json(tmp_path / "new" / "out.json", {"spread": report.spread([1, 2, 3])})
        assert json.loads((tmp_path / "new" / "out.json").read_text()) == {"spread": {"median": 2, "low": 1, "high": 3}}


def _sample(target, turn, items, cpu=None, clients=16):
    recording = Recording([0.01] * items, seconds=1.0)
    before, after = (processes.Usage(0, 0, 0, 0, 1), processes.Usage((cpu or 0) * items, 0, 0, 0, 1))
    summary = report.summarize(recording, before=before if cpu else None, after=after if cpu else None)
    return compare.Sample(target, clients, turn, summary, None)


class TestCompare:
    """Pairs first, then medians."""

    def test_every_target_goes_first_equally_often(self):
        assert ["".join(compare.rotated("abc", turn)) for turn in range(4)] == ["abc", "bca", "cab", "abc"]

    def test_ratios_are_taken_within_a_round(self):
        samples = [_sample("proxy", 0, 90), _sample("ideal", 0, 100), _sample("ideal", 1, 50)]
        samples += [_sample("proxy", 1, 50), _sample("proxy", 2, 40), _sample("ideal", 2, 50)]
        ratio = compare.ratios(samples, "proxy", "ideal", 16, lambda summary: summary.items_per_second)
        assert report.Spread(0.9, 0.8, 1.0) == ratio

    def test_ratios_need_both_sides(self):
        samples = [_sample("proxy", 0, 90)]
        assert compare.ratios(samples, "proxy", "ideal", 16, lambda summary: summary.p50_ms) is None

    def test_lines_hold_medians(self):
        samples = [_sample("proxy", turn, items, cpu=2e-6) for turn, items in enumerate([10, 30, 20])]
        (line,) = compare.lines(samples)
        assert (
            line.items_per_second.median,
            line.items_per_second.low,
            line.items_per_second.high,
        ) == (20, 10, 30)
        assert line.cpu_us is not None
        assert line.cpu_us.median == pytest.approx(2)
        assert "proxy" in compare.lines_table([line])


class TestWire:
    """HTTP as far as the benchmarks use it."""

    def test_request_is_read_back(self):
        request = wire.build_request(wire.endpoint("http://localhost:81", "/embed"), b'{"inputs":"x"}')
        head = wire.read_request_head(request)
        assert head is not None
        assert (b"POST", b"/embed", len(request)) == (head.method, head.path, head.size)
        assert request[head.body_at :] == b'{"inputs":"x"}'

    @pytest.mark.parametrize("cut", [0, 10, 40])
    def test_incomplete_heads_are_waited_for(self, cut):
        request = wire.build_request(wire.endpoint("http://localhost:81/embed"), b"{}")
        assert wire.read_request_head(request[:cut]) is None

    def test_reply_head_tells_status_length_and_batch(self):
        reply = b"HTTP/1.1 200 OK\r\nX-Batch-Size: 7\r\ncontent-LENGTH: 2\r\nConnection: close\r\n\r\n{}"
        head = wire.read_reply_head(reply, len(reply))
        assert head is not None
        assert (200, len(reply), 7, True) == (head.status, head.size, head.batch_size, head.closes)

    @pytest.mark.parametrize("reply", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
    def test_replies_without_an_end_are_refused(self, reply):
        with pytest.raises(wire.WireError):
            wire.read_reply_head(reply, len(reply))

    @pytest.mark.parametrize("url", ["https://localhost", "localhost:80", ""])
    def test_only_plain_http_is_spoken(self, url):
        with pytest.raises(wire.WireError):
            wire.endpoint(url)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nX-Batch-Size: 3\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nX-Batch-Size: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 50, 1000])
def test_reply_counts_once_however_it_is_cut(reply, piece):
    heard = []
    connection = Connection(lambda _, status, size: heard.append((status, size)), lambda *_: None)
    for _ in range(2):  # keep-alive: the second reply must not inherit anything of the first
        connection.send(b"", 0.0)
        for at in range(0, len(reply), piece):
            assert connection.busy
            part = reply[at : at + piece]
            connection.get_buffer(-1)[: len(part)] = part
            connection.buffer_updated(len(part))
        assert not connection.busy
    assert heard == [(200, 3), (200, 3)]


@pytest.fixture(scope="module")
def upstream():
    command = processes.module_command(
        "benchmarks.upstream", "--port", "{port}", "--fixed-ms", "1", "--per-item-ms", "0.01", "--servers", "4"
    )
    with processes.running("upstream", command, ready_path="/health") as service:
        yield service


def _requests(service, path="/embed", batch=1):
    target = wire.endpoint(service.url, path)
    texts = schedule.texts(64, (8,), seed=1)
    return target, [wire.build_request(target, body) for body in schedule.bodies(texts, batch)]


def test_closed_loop_has_no_errors_and_meets_the_upstreams_count(upstream):
    processes.fetch(upstream.url, "/reset", {})
    target, requests = _requests(upstream, batch=2)
    readings = []
    recording = precise_loop.run(
        closed_loop(
            target,
            requests,
            clients=8,
            seconds=0.3,
            on_window=lambda _: readings.append(processes.usage(upstream.pid)),
        )
    )
    stats = processes.fetch_json(upstream.url, "/stats")
    assert recording.errors == {}
    assert len(recording.latencies) >= 100
    assert len(recording.latencies) <= stats["calls"] <= len(recording.latencies) + 16
    assert {"2": stats["calls"]} == stats["batch_sizes"]
    assert min(recording.latencies) >= 0.001
    before, after = readings
    assert after.cpu_seconds >= before.cpu_seconds
    assert after.voluntary_switches > before.voluntary_switches


def test_closed_loop_leaves_the_upstream_nothing_to_work_off():
    command = processes.module_command("benchmarks.upstream", "--port", "{port}", "--fixed-ms", "20")
    with processes.running("slow", command, ready_path="/health") as slow:
        target, requests = _requests(slow)
        precise_loop.run(closed_loop(target, requests, clients=16, seconds=0.03))
        # With calls left over, one more client would queue behind 16 x 20 ms of them.
        recording = precise_loop.run(closed_loop(target, requests, clients=1, seconds=0.2))
        stats = processes.fetch_json(slow.url, "/stats")
    assert stats["calls"] > 16
    assert min(recording.latencies) >= 0.020
    assert recording.latencies[0] < 0.2


def test_closed_loop_counts_refusals_by_status(upstream):
    target, requests = _requests(upstream, path="/nowhere")
    recording = precise_loop.run(closed_loop(target, requests, clients=2, seconds=0.05))
    assert list(recording.errors) == ["404"]
    assert recording.latencies == []


def test_open_loop_answers_the_whole_schedule_and_counts_from_intended_times(upstream):
    target, requests = _requests(upstream)
    # Everything at once: with 4 servers of about 1 ms the latency of the last of 40 includes the whole queue.
    recording = precise_loop.run(open_loop(target, requests, [0.01] * 40))
    assert recording.errors == {}
    assert len(recording.latencies) == 40
    assert max(recording.latencies) >= 0.010


def test_open_loop_counts_the_wait_of_requests_that_found_no_connection(upstream):
    target, requests = _requests(upstream)
    recording = precise_loop.run(open_loop(target, requests, [0.01] * 10, max_connections=1))
    assert (len(recording.latencies), recording.connections) == (10, 1)
    assert max(recording.latencies) >= 0.010


def test_silent_service_ends_as_unanswered(upstream):
    target, requests = _requests(upstream, batch=32)
    command = processes.module_command("benchmarks.upstream", "--port", "{port}", "--fixed-ms", "60000")
    with processes.running("slow", command, ready_path="/health") as slow:
        target = wire.endpoint(slow.url, "/embed")
        recording = precise_loop.run(open_loop(target, requests, [0.0, 0.01], timeout=0.2))
    assert recording.errors == {"unanswered": 2}


def test_closed_command_prints_a_table_and_writes_json(upstream, capsys, tmp_path):
    out = tmp_path / "closed.json"
    argv = ["closed", "--url", upstream.url, "--clients", "4", "--seconds", "0.1", "--warmup", "0"]
    load.main([*argv, "--pid", str(upstream.pid), "--json", str(out)])
    assert "| p99 ms" in capsys.readouterr().out
    assert json.loads(out.read_text())["summary"]["errors"] == {}


def test_open_command_prints_a_table(upstream, capsys):
    load.main(["open", "--url", upstream.url, "--rate", "200", "--seconds", "0.2", "--warmup", "0.05"])
    assert "Poisson, 200 requests/s" in capsys.readouterr().out


def test_unreachable_service_ends_with_a_message():
    url = f"http://127.0.0.1:{processes.free_port()}"
    with pytest.raises(SystemExit, match="Connect"):
        load.main(["closed", "--url", url, "--seconds", "0.1"])


def test_compare_runs_a_stand_in_against_direct_and_ideal(capsys, tmp_path):
    """The stand-in answers like the proxy would: another simulated upstream, same vectors."""
    stand_in = f"{sys.executable} -m benchmarks.upstream --port {{port}} --fixed-ms 1 --per-item-ms 0.1"
    out = tmp_path / "compare.json"
    argv = ["compare", "--clients", "2", "--rounds", "2", "--seconds", "0.1", "--warmup", "0"]
    argv += ["--fixed-ms", "1", "--per-item-ms", "0.1", "--proxy-ready", "/health"]
    load.main([*argv, "--proxy-command", stand_in, "--json", str(out)])
    printed = capsys.readouterr().out
    assert "proxy/optimum" in printed
    assert [line["target"] for line in json.loads(out.read_text())["lines"]] == ["direct", "proxy", "ideal"]


def test_compare_refuses_a_proxy_that_mixes_up_vectors(capsys):
    """A stand-in whose vectors are its own must be refused before anything is measured."""
    stand_in = f"{sys.executable} -m benchmarks.upstream --port {{port}} --verify --fixed-ms 0"
    argv = ["compare", "--clients", "1", "--rounds", "1", "--fixed-ms", "0", "--proxy-ready", "/health"]
    with pytest.raises(SystemExit, match="another text's vector"):
        load.main([*argv, "--proxy-command", stand_in])


def test_service_that_does_not_start_is_quoted():
    command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    with (
        pytest.raises(processes.ServiceError, match="no such setting"),
        processes.running("broken", command, ready_path="/health"),
    ):
        pass
