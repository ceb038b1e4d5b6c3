"""The filters that `harness data` uses where none are named, and how they are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config import apply_sets
from harness.data.filtering import FilterUse
from harness.errors import ConfigError, did_you_mean
from harness.plugins import validate
from harness.specs import Config
from harness.toml_files import read_toml

DEFAULTS: tuple[FilterUse, ...] = (
    FilterUse(name="format"),
    FilterUse(name="pii"),
    FilterUse(name="secrets"),
    FilterUse(name="unsafe", action="flag"),
    FilterUse(name="spam"),
    FilterUse(name="boilerplate"),
    FilterUse(name="repetition"),
    FilterUse(name="symbols"),
    FilterUse(name="truncation"),
    FilterUse(name="language", action="flag"),
    FilterUse(name="label_consistency"),
    FilterUse(name="exact_duplicates"),
    FilterUse(name="near_duplicates"),
    FilterUse(name="length", action="flag"),
    FilterUse(name="templates", action="flag"),
)
"""Without those that need a model (`semantic_duplicates`, `topic_balance`), a suite (`leakage`) or a policy's own
samples (`difficulty`). What cannot be told for certain from the data alone is flagged and not dropped."""


class FiltersConfig(Config):
    """A file of filters."""

    filters: list[FilterUse]


def filter_uses(
    names: Sequence[str] = (),
    *,
    file: Path | None = None,
    without: Sequence[str] = (),
    sets: Sequence[str] = (),
    against: Sequence[str] = (),
) -> tuple[FilterUse, ...]:
    """The filters of `names`, or of a TOML `file` (`[[filters]]`), or the defaults; less those of `without`.

    `sets` are `FILTER.SETTING=VALUE`, or `FILTER.action=VALUE`. `against` are suites of whose items nothing may be
    left: the filter `leakage`, first of all. Raises ConfigError for what does not go together.
    """
    if names and file is not None:
        raise ConfigError(
            "filters are named and a file of filters too", where="--filter", remedy="Give one of the two."
        )
    uses = [FilterUse(name=name) for name in names] if names else list(DEFAULTS)
    if file is not None:
        uses = list(validate(FiltersConfig, read_toml(file), where=str(file)).filters)
    if against:
        uses = [FilterUse(name="leakage", config={"suites": list(against)}), *uses]
    known = [use.name for use in uses]
    if twice := next((name for name in known if known.count(name) > 1), None):
        raise ConfigError(f"{twice} is named twice", where="filters", remedy="Name each filter once.")
    for name in without:
        if name not in known:
            raise ConfigError(f"{name!r} is not among the filters", where="--without", remedy=did_you_mean(name, known))
    settings = apply_sets({}, sets)
    for name in settings:
        if name not in known:
            raise ConfigError(f"{name!r} is not among the filters", where="--set", remedy=did_you_mean(name, known))
    left = [_with(use, settings.get(use.name, {})) for use in uses if use.name not in without]
    if not left:
        raise ConfigError("no filter is left", where="--without", remedy="Leave one in.")
    return tuple(left)


def _with(use: FilterUse, settings: Any) -> FilterUse:
    if not isinstance(settings, Mapping):
        raise ConfigError(
            f"{use.name}={settings!r} names no setting", where="--set", remedy=f"Write {use.name}.SETTING=VALUE."
        )
    given = {"action": use.action} | {k: v for k, v in settings.items() if k == "action"}
    config = use.config | {k: v for k, v in settings.items() if k != "action"}
    return validate(FilterUse, {"name": use.name, "config": config, **given}, where=f"filter {use.name}")
