"""Which core a worker process stays on."""

from __future__ import annotations

import os
import subprocess
import sys

from serving.affinity import choose_core

SHOW_AFFINITY = """
import os
from serving.affinity import stay_on_one_core
core = stay_on_one_core()
print(core is None or os.sched_getaffinity(0) == {core})
"""


def test_the_core_with_the_fewest_bound_processes_is_taken() -> None:
    assert choose_core({0, 1, 2}, {0: 1, 2: 3}, turn=7) == 1


def test_services_that_start_together_choose_different_cores() -> None:
    assert {choose_core({0, 1, 2, 3}, {}, turn=pid) for pid in range(100, 104)} == {0, 1, 2, 3}


def test_only_allowed_cores_are_considered() -> None:
    assert choose_core({5}, {5: 9, 1: 0}, turn=3) == 5


def test_the_process_is_bound_to_the_core() -> None:
    here = os.getcwd()
    done = subprocess.run([sys.executable, "-c", SHOW_AFFINITY], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
