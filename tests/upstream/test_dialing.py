"""A connection is opened to the first address that takes one, in time; a failure is told in words without addresses."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from batching.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tests.support.upstream import closed_port
from tests.upstream.network_bench import HUNG, Silent, shut, target_at
from upstream.addresses import Address, Target
from upstream.dialing import HEAD_START, dial
from upstream.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAIN = Origin("upstream", 80, None)


def still() -> float:
    return 0.0


def soon(seconds: float = HUNG) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        shut(listener)


def target_of(listener: socket.socket) -> Target:
    return target_at(*listener.getsockname())


@pytest.fixture
def refusing() -> Target:
    return target_at("127.0.0.1", int(closed_port().rpartition(":")[2]))


def failure(origin: Origin, *targets: Target, end: float, now: Callable[[], float] = time.monotonic) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        dial(origin, targets, end, now)
    return raised.value


# Which address


def test_the_first_address_is_connected_to(listener: socket.socket) -> None:
    target = target_of(listener)
    connection = dial(PLAIN, [target, target_at("127.0.0.2", 1)], 1.0, still)
    assert connection.target is target
    connection.close()


def test_an_address_that_refuses_costs_nothing(listener: socket.socket, refusing: Target) -> None:
    failed: dict[Target, str] = {}
    connection = dial(PLAIN, [refusing, target_of(listener)], 1.0, still, failed.__setitem__)
    assert failed == {refusing: "[Errno 111] Connection refused"}
    connection.close()


def test_an_address_that_swallows_packets_costs_its_head_start(listener: socket.socket) -> None:
    failed: dict[Target, str] = {}
    with Silent("127.0.0.2", 0) as silent:
        began = time.monotonic()
        connection = dial(PLAIN, [silent.target, target_of(listener)], soon(), time.monotonic, failed.__setitem__)
        assert HEAD_START <= time.monotonic() - began < 4 * HEAD_START
        assert failed == {silent.target: "no answer"}
    connection.close()


def test_many_silent_addresses_share_the_time_that_is_left(listener: socket.socket) -> None:
    with Silent("127.0.0.2", 0) as silent:
        targets = [Target(silent.target.address) for _ in range(4)]
        dial(PLAIN, [*targets, target_of(listener)], soon(0.8), time.monotonic).close()


def test_where_the_kernel_knows_no_ipv6_the_other_addresses_are_tried(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyIPv4(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **kwargs: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", OnlyIPv4)
    six = Target(Address(socket.AF_INET6, socket.SOCK_STREAM, 6, ("::1", 80, 0, 0)))
    dial(PLAIN, [six, target_of(listener)], 1.0, still).close()


# How the socket is set


def options_of(listener: socket.socket, monkeypatch: pytest.MonkeyPatch, *, refused: bool) -> set[tuple[int, ...]]:
    options: set[tuple[int, ...]] = set()

    class Noting(socket.socket):
        def setsockopt(self, *option: Any) -> None:
            options.add(option)
            if refused:
                raise OSError(errno.ENOPROTOOPT, "not here")
            super().setsockopt(*option)

    monkeypatch.setattr(socket, "socket", Noting)
    dial(PLAIN, [target_of(listener)], 1.0, still).close()
    return options


@pytest.mark.parametrize("refused", [False, True], ids=["where the system takes it", "where it does not"])
def test_small_requests_are_not_held_back_and_a_dead_peer_is_noticed(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    tcp = socket.IPPROTO_TCP
    assert options_of(listener, monkeypatch, refused=refused) == {
        (tcp, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (tcp, socket.TCP_KEEPIDLE, 15),
        (tcp, socket.TCP_KEEPINTVL, 5),
        (tcp, socket.TCP_KEEPCNT, 3),
    }


# Failures


def test_an_address_that_refuses_is_unavailable(refusing: Target) -> None:
    error = failure(PLAIN, refusing, end=1.0, now=still)
    assert isinstance(error, UpstreamUnavailable)
    assert error.message == "the upstream cannot be reached: connection refused"
    assert error.reason == f"{refusing}: [Errno 111] Connection refused"
    assert error.retry_after == 1


def test_the_same_failures_are_told_in_the_same_words_in_whatever_order(refusing: Target) -> None:
    targets = [target_at(f"127.0.0.{number}", refusing.address.place[1]) for number in range(1, 7)]
    errors = [failure(PLAIN, *some, end=1.0, now=still) for some in (targets, targets[::-1])]
    assert errors[0].reason == errors[1].reason
    assert errors[0].reason.endswith(
        f"127.0.0.4:{refusing.address.place[1]}: [Errno 111] Connection refused; and 2 more"
    )


def test_silence_is_the_fault_of_an_upstream_that_had_its_full_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upstream.dialing.CONNECT_TIMEOUT", 0.3)
    with Silent("127.0.0.2", 0) as silent:
        began = time.monotonic()
        error = failure(PLAIN, silent.target, end=soon())
        assert 0.3 <= time.monotonic() - began < 1.5
    assert isinstance(error, UpstreamUnavailable)
    assert error.message == "the upstream cannot be reached: no answer to the connection attempt within 3 s"
    assert error.reason == f"{silent.target}: no answer"


def test_silence_until_an_early_deadline_is_not(refusing: Target) -> None:
    with Silent("127.0.0.2", 0) as silent:
        for targets in ([silent.target], [silent.target, refusing]):
            began = time.monotonic()
            error = failure(PLAIN, *targets, end=soon(0.2))
            assert time.monotonic() - began < 1.0
            assert isinstance(error, UpstreamTimeout)


def test_a_refusal_is_the_upstreams_however_early_the_deadline(refusing: Target) -> None:
    assert isinstance(failure(PLAIN, refusing, end=0.001, now=still), UpstreamUnavailable)


def test_with_no_time_left_no_connection_is_made(listener: socket.socket) -> None:
    assert isinstance(failure(PLAIN, target_of(listener), end=0.0, now=still), UpstreamTimeout)
