"""Connections are spread evenly over the addresses of a name; one that fails is left alone for a moment."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from upstream.addresses import FIRST_AVOIDANCE, LONGEST_AVOIDANCE, Address, Addresses, Target


def address(number: int, family: int = socket.AF_INET) -> Address:
    host = f"10.0.0.{number}" if family == socket.AF_INET else f"fd00::{number}"
    return Address(family, socket.SOCK_STREAM, 6, (host, 80))


A, B, C = map(address, (1, 2, 3))
SIX = address(1, socket.AF_INET6)


def addresses_of(*found: Address) -> Addresses:
    addresses = Addresses()
    addresses.told(found)
    return addresses


def chosen(addresses: Addresses, now: float = 0.0) -> Target:
    target = addresses.choose(now)
    assert target is not None
    return target


def hosts(*targets: Target) -> list[str]:
    return [str(target) for target in targets]


def test_no_address_is_chosen_before_one_is_told() -> None:
    assert Addresses().choose(0.0) is None
    assert Addresses().all() == []


def test_an_address_says_where_it_leads() -> None:
    assert (str(A), str(SIX), str(Target(A))) == ("10.0.0.1:80", "[fd00::1]:80", "10.0.0.1:80")


def test_addresses_are_chosen_in_turn() -> None:
    addresses = addresses_of(A, B, C)
    assert hosts(*(chosen(addresses) for _ in range(6))) == hosts(*addresses.all()) * 2


def test_an_address_with_fewer_connections_in_use_comes_first() -> None:
    addresses = addresses_of(A, B, C)
    a, b, c = addresses.all()
    a.busy, b.busy, c.busy = 1, 0, 1
    assert [chosen(addresses), chosen(addresses)] == [b, b]


def test_a_server_that_hangs_gets_no_more_than_the_others_have() -> None:
    addresses = addresses_of(A, B)
    hung = addresses.all()[0]
    for _ in range(20):
        target = chosen(addresses)
        target.busy += target is hung  # the others are done at once
    assert hung.busy == 1


def test_an_address_is_told_twice_and_counts_once() -> None:
    assert hosts(*addresses_of(A, A).all()) == [str(A)]


def test_what_is_no_longer_told_is_gone_and_the_others_stay_as_they_are() -> None:
    addresses = addresses_of(A, B)
    a, b = addresses.all()
    assert addresses.told([B, C]) == [a]
    assert addresses.all()[0] is b
    assert (a.is_listed, b.is_listed) == (False, True)
    assert hosts(*addresses.all()) == hosts(Target(B), Target(C))


def test_one_that_comes_back_is_a_new_one() -> None:
    addresses = addresses_of(A)
    (first,) = addresses.all()
    addresses.told([B])
    addresses.told([A])
    assert addresses.all() != [first]


def test_an_address_that_failed_is_left_alone_for_a_moment() -> None:
    addresses = addresses_of(A, B)
    a, b = addresses.all()
    addresses.failed(a, 10.0)
    assert [chosen(addresses, 10.0), chosen(addresses, 10.5)] == [b, b]
    assert a in {chosen(addresses, 10.0 + FIRST_AVOIDANCE) for _ in range(2)}


def test_the_moment_grows_with_each_failure_and_ends_with_a_success() -> None:
    addresses = addresses_of(A, B)
    a, _ = addresses.all()
    waits = []
    for _ in range(9):
        addresses.failed(a, 100.0)
        waits.append(a.avoided_until - 100.0)
    assert waits == [*(FIRST_AVOIDANCE * 2**number for number in range(5)), *[LONGEST_AVOIDANCE] * 4]
    addresses.worked(a)
    assert a in {chosen(addresses, 100.0) for _ in range(2)}


def test_where_all_have_failed_all_are_tried_on() -> None:
    addresses = addresses_of(A, B)
    for target in addresses.all():
        addresses.failed(target, 0.0)
    assert Counter(chosen(addresses, 0.1) for _ in range(4)) == Counter(addresses.all() * 2)


def test_a_single_address_is_chosen_though_it_failed() -> None:
    addresses = addresses_of(A)
    (a,) = addresses.all()
    addresses.failed(a, 0.0)
    assert chosen(addresses, 0.0) is a


@pytest.mark.parametrize("found", [(SIX, A, B), (SIX, B, A)])
def test_another_family_is_used_only_while_the_first_fails(found: tuple[Address, ...]) -> None:
    addresses = addresses_of(*found)
    six = addresses.all()[0]
    assert {chosen(addresses) for _ in range(4)} == {six}
    addresses.failed(six, 0.0)
    assert {chosen(addresses, 0.5) for _ in range(4)} == set(addresses.all()[1:])
    assert chosen(addresses, FIRST_AVOIDANCE) is six


def test_a_connection_is_tried_at_all_addresses_the_avoided_last() -> None:
    addresses = addresses_of(A, B, C, SIX)
    a, b, c, six = addresses.all()
    addresses.failed(a, 0.0)
    c.busy = 1
    assert addresses.order(b, 0.5) == [b, c, six, a]
    addresses.failed(b, 0.0)
    addresses.failed(c, 0.0)
    addresses.failed(six, 0.0)
    assert addresses.order(c, 0.5)[0] is c
    assert set(addresses.order(c, 0.5)) == {a, b, c, six}


def test_a_target_that_is_gone_is_not_tried() -> None:
    addresses = addresses_of(A, B)
    a, b = addresses.all()
    addresses.told([B])
    assert addresses.order(a, 0.0) == [b]
