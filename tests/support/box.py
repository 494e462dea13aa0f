"""Runs a command in as small a container as this machine can make: ``python tests/support/box.py PYTHON WORDS...``

As root: 60 tasks and 64 MB (cgroups of version 1 or 2, where they may be made), no writable directory at all, not even
/dev/shm, and a user without a name. Without root only the limit of tasks. The process stays the same, so its id does.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

TASKS, MEMORY = 60, 64_000_000
USER = 54321

CGROUPS = Path("/sys/fs/cgroup")
#: Files of a limit by the folder in which cgroups are made: version 1 has one for each controller.
LIMITS = {
    CGROUPS: {"pids.max": TASKS, "memory.max": MEMORY},
    CGROUPS / "pids": {"pids.max": TASKS},
    CGROUPS / "memory": {"memory.limit_in_bytes": MEMORY},
}

#: In a mount namespace of its own: every file system that is not the kernel's becomes read-only.
READ_ONLY = """
mount -t tmpfs -o ro none /dev/shm
for place in / /tmp /var/tmp /run; do
  mount --bind "$place" "$place" 2>/dev/null && mount -o remount,ro,bind "$place"
done
cd "$PWD" && exec "$@"
"""


def folders(process: int) -> list[Path]:
    """Return the cgroups that may have been made for a process."""
    return [folder / f"autobatch-test-{process}" for folder in LIMITS]


def can_be_whole() -> bool:
    """Whether this machine lets us make mount namespaces and take another user's place."""
    if os.getuid() or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        return False
    return subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0


def limit_memory_and_tasks() -> bool:
    """Move this process into cgroups of its own; return whether one of them limits tasks."""
    limited = False
    for folder, limits in zip(folders(os.getpid()), LIMITS.values(), strict=True):
        if not (folder.parent / "cgroup.procs").exists():
            continue
        with suppress(OSError):
            folder.mkdir()
            for name, limit in limits.items():
                (folder / name).write_text(str(limit))
                limited = limited or name == "pids.max"
            (folder / "cgroup.procs").write_text(str(os.getpid()))
    return limited


def main(words: list[str]) -> None:
    """Become the command, in the box."""
    for name in ("HOME", "TMPDIR", "USER", "LOGNAME"):
        os.environ.pop(name, None)
    if not can_be_whole():
        others = subprocess.run(["ps", "-L", "-U", str(os.getuid())], check=True, capture_output=True, text=True)
        most = len(others.stdout.splitlines()) + TASKS
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        os.execv(words[0], words)
    if not limit_memory_and_tasks():
        resource.setrlimit(resource.RLIMIT_NPROC, (TASKS, TASKS))
    # The interpreter may lie in a home that only root may enter: reading is allowed.
    may = "-all,+dac_read_search"
    person = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", f"--bounding-set={may}"]
    become = ["setpriv", *person, f"--inh-caps={may}", f"--ambient-caps={may}", *words]
    space = ["unshare", "-m", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"]
    os.execvp(space[0], [*space, *become])


if __name__ == "__main__":
    main(sys.argv[1:])
