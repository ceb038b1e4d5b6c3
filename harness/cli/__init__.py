"""The `harness` command. Exit codes: 0 promoted or ok, 1 rejected, 2 inconclusive, 3 bad input or invalid run,
70 a bug (with a traceback), 130 interrupted."""

from harness.cli.app import main

__all__ = ["main"]
