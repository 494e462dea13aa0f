"""What the machine allows is read from Linux's files: cgroups of both versions, limits of the user."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from config.machine import look

if TYPE_CHECKING:
    from pathlib import Path


class Root:
    """A file system of which a test makes the parts it needs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **files: str) -> Root:
        """Write files; two underscores in a name stand for a slash, one before ``max`` and the like stays."""
        for name, text in files.items():
            file = self.path / name.replace("__", "/").replace("pids_", "pids.").replace("memory_", "memory.")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return self


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    limits = dict.fromkeys(range(16), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    return Root(tmp_path)


V2 = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
V1 = """\
30 25 0:26 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
31 25 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
32 25 0:28 / /proc/x rw - proc proc rw
"""


def test_without_limits_nothing_is_limited(root: Root) -> None:
    machine = look(root.path)
    assert (machine.tasks, machine.memory, machine.addresses, machine.stack) == (None, None, None, None)


def test_the_narrowest_cgroup_of_version_2_counts(root: Root) -> None:
    root.write(
        proc__self__cgroup="0::/pod/container\n",
        proc__self__mountinfo=V2,
        sys__fs__cgroup__pod__container__pids_max="max\n",
        sys__fs__cgroup__pod__pids_max="60\n",
        sys__fs__cgroup__pod__pids_current="12\n",
        sys__fs__cgroup__pod__container__memory_max="64000000\n",
        sys__fs__cgroup__pod__memory_max="128000000\n",
    )
    machine = look(root.path)
    assert machine.tasks == (48, "a cgroup allows 60 tasks")
    assert machine.memory == (64_000_000, "a cgroup allows 64000000 bytes")


def test_a_container_that_sees_only_its_own_cgroup_of_version_1_is_understood(root: Root) -> None:
    root.write(
        proc__self__cgroup="8:pids:/docker/abc\n4:memory:/docker/abc\n",
        proc__self__mountinfo=V1,
        sys__fs__cgroup__pids__pids_max="100\n",
        sys__fs__cgroup__pids__pids_current="40\n",
        sys__fs__cgroup__memory__memory_limit_in_bytes="9223372036854771712\n",
    )
    root.path.joinpath("sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    machine = look(root.path)
    assert machine.tasks == (60, "a cgroup allows 100 tasks")
    assert machine.memory is None, "so many bytes mean that there is no limit"


def test_a_users_tasks_are_counted_as_far_as_they_are_seen(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = dict.fromkeys(range(16), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    limits[resource.RLIMIT_NPROC] = (50, 50)
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(os, "getuid", lambda: 7)
    root.write(
        proc__1__status="Uid:\t7\t7\t7\t7\nThreads:\t10\n",
        proc__2__status="Uid:\t8\t8\t8\t8\nThreads:\t90\n",
        proc__3__status="Uid:\t7\t7\t7\t7\nThreads:\t1\n",
        proc__4__status="it ended meanwhile",
    )
    assert look(root.path).tasks == (39, "RLIMIT_NPROC allows 50 tasks of this user")


@pytest.mark.parametrize(("uid_map", "limited"), [("0 0 4294967295\n", False), ("0 1000 1\n", True)])
def test_root_is_limited_only_in_a_user_namespace(
    root: Root, monkeypatch: pytest.MonkeyPatch, uid_map: str, limited: bool
) -> None:
    limits = dict.fromkeys(range(16), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    limits[resource.RLIMIT_NPROC] = (50, 50)
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    root.write(proc__self__uid_map=uid_map)
    assert (look(root.path).tasks is not None) is limited


def test_addresses_and_stacks_are_the_soft_limits(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = dict.fromkeys(range(16), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    limits |= {resource.RLIMIT_AS: (500, 900), resource.RLIMIT_DATA: (400, 900), resource.RLIMIT_STACK: (8, 9)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    machine = look(root.path)
    assert (machine.addresses, machine.stack) == (400, 8)


def test_the_machine_at_hand_can_be_read() -> None:
    assert look().tasks is None or look().tasks.amount >= 0  # type: ignore[union-attr]
