"""Every hook, on one screen. Implement any of them with `@harness.hookimpl` and expose the module (or an object)
under the entry-point group `harness`, or name the file with `--plugin file.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pluggy

from harness.specs import (
    CheckSpec,
    ExporterSpec,
    FilterSpec,
    GeneratorSpec,
    JudgeSpec,
    ObjectiveSpec,
    SuiteSpec,
    UpdaterSpec,
)

if TYPE_CHECKING:
    import click

    from harness.types import EvalReport, GateDecision, ScoredGroup

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")

# Registration: return typed records, do no work, import nothing heavy.


@hookspec
def harness_register_generators() -> Iterable[GeneratorSpec]:  # type: ignore[empty-body]
    """Samplers: something that turns prompts into groups of completions."""


@hookspec
def harness_register_judges() -> Iterable[JudgeSpec]:  # type: ignore[empty-body]
    """Judges: something that scores completions."""


@hookspec
def harness_register_objectives() -> Iterable[ObjectiveSpec]:  # type: ignore[empty-body]
    """Objectives: losses over token log-probabilities."""


@hookspec
def harness_register_updaters() -> Iterable[UpdaterSpec]:  # type: ignore[empty-body]
    """Updaters: something that trains an adapter from scored groups."""


@hookspec
def harness_register_suites() -> Iterable[SuiteSpec]:  # type: ignore[empty-body]
    """Suites: prompts with judges and a role in the gate."""


@hookspec
def harness_register_checks() -> Iterable[CheckSpec]:  # type: ignore[empty-body]
    """Checks: answers of which the better is known, for `harness judge check`."""


@hookspec
def harness_register_exporters() -> Iterable[ExporterSpec]:  # type: ignore[empty-body]
    """Exporters: something that writes an adapter as others load it."""


@hookspec
def harness_register_filters() -> Iterable[FilterSpec]:  # type: ignore[empty-body]
    """Filters: something that says what is wrong with training data."""


@hookspec
def harness_register_commands(cli: click.Group) -> None:
    """Add subcommands to `harness`."""


# Observers: the return value is ignored, an error is logged and does not stop the run. Take any of the arguments.


@hookspec
def harness_round_started(run: str, index: int, stage: str) -> None:
    """A round begins; `stage` is its updater's name."""


@hookspec
def harness_groups_scored(run: str, index: int, groups: Sequence[ScoredGroup]) -> None:
    """The round's groups were sampled, judged and stored."""


@hookspec
def harness_eval_finished(run: str, index: int, report: EvalReport) -> None:
    """The round's candidate was evaluated."""


@hookspec
def harness_round_finished(run: str, index: int, decision: GateDecision) -> None:
    """The round was committed."""


@hookspec
def harness_loop_finished(run: str, incumbent: str) -> None:
    """All rounds are committed; `incumbent` is the version that stands."""
