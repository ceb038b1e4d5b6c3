from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

# A parent that starts a child, guards it, and says their process ids.
PARENT = """
import subprocess, sys, time
from harness_plugins.generators.guard import OrphanGuard
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
guard = OrphanGuard([child.pid])
if "release" in sys.argv:
    guard.release()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def killed_parent(*arguments: str) -> int:
    """Process id of the child of a parent that was killed the hard way."""
    with subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.5)
        assert is_alive(child)
        parent.kill()
    return child


def test_killed_parent_takes_the_guarded_process_along():
    child = killed_parent()
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(child)


def test_released_process_is_left_alone():
    child = killed_parent("release")
    time.sleep(2)
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)
