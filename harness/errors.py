"""Errors a person can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations

# Exit codes of the command line, in one place because scripts depend on them.
EXIT_OK = 0
EXIT_REJECTED = 1
EXIT_INCONCLUSIVE = 2
EXIT_INVALID = 3
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Bad input or an invalid run. Printed as one line, without a traceback; exit code 3.

    `where` names the file, field or component; `remedy` says what to do next.
    """

    exit_code = EXIT_INVALID

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head.rstrip('.')}. {self.remedy}" if self.remedy else head


class ConfigError(HarnessError):
    """A config file, a `--set` or a flag does not say something valid."""


class PluginError(HarnessError):
    """A component is unknown, claimed twice, or broke its contract."""


class AssetError(HarnessError):
    """A model or data artifact cannot be had, or is not the one that was pinned."""


class StoreError(HarnessError):
    """A run folder is missing, damaged, locked, or belongs to another config or version."""


class StaleSamplerError(HarnessError):
    """The sampler does not serve the adapter it was told to load."""


class JudgeFailure(HarnessError):
    """Too many verdicts failed for the round to mean anything."""


def did_you_mean(name: str, known: list[str]) -> str:
    """A remedy for a misspelt name: the closest known ones, else all of them."""
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(sorted(known)) or 'none'}."


class UpdateError(HarnessError):
    """An update went wrong by itself (no signal, NaN): the round is rolled back and the run goes on."""
