"""Training data that repeats what suites hold out."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from harness.api import find_suite
from harness.data.record import Flaw, Record
from harness.errors import ConfigError
from harness.leakage import LeakIndex
from harness.plugins import Registry
from harness.protocols import RunContext
from harness.suites import load_suite
from harness.types import digest
from harness_plugins.filters.learning.configs import LeakageConfig


class LeakageFilter:
    """A flaw for each kind of leak, which names the first item; the index is made when the first record comes."""

    def __init__(self, config: LeakageConfig, context: RunContext) -> None:
        """Raises ConfigError where there is no registry to find suites in, PluginError for a suite of no plugin's."""
        if not isinstance(context.components, Registry):
            raise ConfigError(
                "suites cannot be found without plugins",
                where="filter leakage",
                remedy="Make it with a RunContext whose `components` is a registry.",
            )
        self._config, self._context, self._registry = config, context, context.components
        for name in config.suites:
            if not _is_folder(name):
                self._registry.get("suite", name.partition(":")[0])

    @cached_property
    def _index(self) -> LeakIndex:
        return LeakIndex([find_suite(name, self._registry, self._context) for name in self._config.suites])

    def check(self, record: Record) -> list[Flaw]:
        leaks = self._index.leaks(record.prompt, [answer.text for answer in record.answers])
        flaws = []
        for kind in self._config.kinds:
            found = [leak for leak in leaks if leak.kind == kind]
            if found:
                more = f" and {len(found) - 1} more" if len(found) > 1 else ""
                detail = f"suite {found[0].suite}, item {found[0].item}{more} ({found[0].similarity:.2f})"
                flaws.append(Flaw(f"leaked_{kind}", detail))
        return flaws


def folders_content(config: LeakageConfig) -> str:
    """Digest of what the suites that are folders hold out, "" for none."""
    folders = [load_suite(Path(name)) for name in config.suites if _is_folder(name)]
    return digest([[p.hash for p in (*suite.items, *suite.train)] for suite in folders]) if folders else ""


def _is_folder(name: str) -> bool:
    """As `find_suite` decides: PLUGIN:TASK may have a slash in its task."""
    return "/" in name.partition(":")[0] or (":" not in name and Path(name, "suite.toml").is_file())
