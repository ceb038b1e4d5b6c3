"""Child processes that end when their parent does, however it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

# Its standard input is a pipe from the guarded parent. End of file without a word means that the parent died.
_WATCH = """
import os, signal, sys, time

def reach(pids, number):
    "Those of the processes that are there to take the signal."
    there = []
    for pid in pids:
        try:
            os.kill(pid, number)
            there.append(pid)
        except ProcessLookupError:
            pass
    return there

if sys.stdin.read() == "":
    left = reach(map(int, sys.argv[1:]), signal.SIGTERM)
    for _ in range(100):
        time.sleep(0.1)
        left = reach(left, 0)
        if not left:
            break
    reach(left, signal.SIGKILL)
"""


class OrphanGuard:
    """Ends the processes `pids` if this process is killed, which no handler of its own could do."""

    def __init__(self, pids: Sequence[int]) -> None:
        command = [sys.executable, "-I", "-c", _WATCH, *map(str, pids)]
        # A session of its own: an interrupt from the terminal must not end the guard.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
        )

    def release(self) -> None:
        """Let the processes be; they are stopped, or about to be."""
        self._process.communicate("released")
