"""Typed records that plugins return from their registration hooks. Making one imports nothing heavy.

`create(config, context)` is called only when a run names the component; put heavy imports inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from harness.protocols import (
    Exporter,
    Filter,
    Generator,
    Judge,
    ModelRef,
    Objective,
    RunContext,
    Suite,
    SurveyingFilter,
    Updater,
)
from harness.types import CheckpointKind, KnownPair

C = TypeVar("C")


class Config(BaseModel):
    """Base of every component's settings: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def identity(self) -> dict[str, Any]:
        """The settings that outcomes depend on, as JSON: all of them, unless a component knows better."""
        return self.model_dump(mode="json")


class NoConfig(Config):
    """For components without settings."""


class JudgeSeat(Config):
    """A judge that a component's settings name, to be made by `harness.seats.make_judge`. Subclasses say more of it."""

    name: str
    config: dict[str, Any] = Field(default_factory=dict)
    family: str = ""
    """What its verdicts come from. Default: what the judge says of itself (the model that it asks), or its name."""


@dataclass(frozen=True)
class ComponentSpec(Generic[C]):
    """A component by name. `summary` is one line, shown by `harness plugins`."""

    kind: ClassVar[str] = "component"

    name: str
    summary: str
    create: Callable[[Any, RunContext], C]
    config: type[Config] = NoConfig
    content: Callable[[Any], str] | None = None
    """Digest of the files that its settings name, "" where they name none: part of what a run is."""


@dataclass(frozen=True)
class GeneratorSpec(ComponentSpec[Generator]):
    """`served` is for one that holds no weights: from its settings and the run's name for its model, the model that a
    server holds. Its completions have no token ids, so nothing is trained on them, and it takes no adapters."""

    kind: ClassVar[str] = "generator"
    served: Callable[[Any, str], ModelRef] | None = None


@dataclass(frozen=True)
class JudgeSpec(ComponentSpec[Judge]):
    """`deterministic` judges give the same verdict on the same text for ever; only they may be trained against and
    still be the gate's only evidence. Of a judge whose settings have seats it says so as long as those who take them
    are deterministic too."""

    kind: ClassVar[str] = "judge"
    deterministic: bool = False
    family: Callable[[Any], str | None] | None = None
    """From its settings, what its verdicts come from, such as the model that it asks: judges of one family err alike,
    whatever they are called. None: its name."""
    waits: bool = False
    """Its verdicts come in from outside while the run waits, so it can judge training samples only, which are kept."""


Family = Literal["sft", "preference", "unpaired", "group", "reward"]
"""Which data a loss reads: `sft` completions to be learnt, `preference` pairs of a chosen and a rejected one,
`unpaired` completions that are good or bad by themselves, `group` completions with advantages, `reward` pairs of
completions with a scalar that a reward model gives each."""


@dataclass(frozen=True)
class ObjectiveSpec(ComponentSpec[Objective]):
    kind: ClassVar[str] = "objective"
    family: Family = "group"


@dataclass(frozen=True)
class UpdaterSpec(ComponentSpec[Updater]):
    """`family` is that of the objectives it can use (its setting `objective`); None if it has no such setting.

    `makes` is what its checkpoints are: only a policy can be a round's candidate. `launchable` says that it can run in
    several processes at once, with the first of them writing the checkpoint.
    """

    kind: ClassVar[str] = "updater"
    family: Family | None = None
    makes: CheckpointKind = "policy"
    launchable: bool = False


@dataclass(frozen=True)
class SuiteSpec(ComponentSpec[Suite]):
    kind: ClassVar[str] = "suite"


@dataclass(frozen=True)
class CheckSpec(ComponentSpec[Sequence[KnownPair]]):
    """Pairs of answers of which the better is known, to try judges on."""

    kind: ClassVar[str] = "check"


@dataclass(frozen=True)
class ExporterSpec(ComponentSpec[Exporter]):
    """`library` is what loads the result, as model hubs name it (`library_name` of a model card)."""

    kind: ClassVar[str] = "exporter"
    library: str = "transformers"


@dataclass(frozen=True)
class FilterSpec(ComponentSpec[Filter | SurveyingFilter]):
    """Looks for what is wrong with training data. `reasons` are those that its flaws give, each with what it means."""

    kind: ClassVar[str] = "filter"
    reasons: Mapping[str, str] = field(default_factory=dict)
