"""What an updater of ours is: a selection from scored groups, and what its objective must know of them.

The rest is the same for all (`harness_plugins.training.fitting`): load, plan steps, train, seal. Imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from harness.plugins import make_objective
from harness.protocols import Objective, RunContext, SequenceBatch, StepTotals
from harness.training_data import require_token_ids
from harness.types import AdapterCheckpoint, ScoredGroup, Update
from harness_plugins.models.packing import Row, TrainingGroup, TrainingStep, make_step, shuffled_batches


@dataclass(frozen=True)
class Selection:
    """What is trained on, and what was left out and why (`metrics`)."""

    groups: tuple[TrainingGroup, ...]
    metrics: Mapping[str, float]
    probe_token_ids: tuple[int, ...]
    """Prompt and completion on which the update should show."""
    temperature: float = 1.0
    """At which log-probabilities are taken."""
    max_completion: int = 0
    """The sampling limit on completion tokens."""


@dataclass(frozen=True)
class Pass:
    """How sequences go through the model, and from where training starts."""

    parent: AdapterCheckpoint | None
    temperature: float
    max_tokens: int
    """Of a packed row; 0 computes each completion alone."""
    metrics: dict[str, float] = field(default_factory=dict)
    """What `prepare` has measured."""


class AdapterUpdater(ABC):
    """Base of the updaters that train on packed rows."""

    name: ClassVar[str]

    def __init__(self, config: Any, context: RunContext, *, objective: Objective | None = None) -> None:
        self.config = config
        self.context = context
        self.objective = objective or make_objective(config.objective, config.objective_config, context)

    @abstractmethod
    def select(self, groups: Sequence[ScoredGroup]) -> Selection:
        """What to train on. Raises UpdateError when there is nothing."""

    def batches(self, groups: Sequence[TrainingGroup], random_order: Random) -> Iterator[Sequence[TrainingGroup]]:
        """One pass over the groups, an optimizer step's at a time."""
        return shuffled_batches(groups, self.config.groups_per_step, random_order)

    def prepare(self, model: Any, groups: Sequence[TrainingGroup], how: Pass) -> list[TrainingGroup]:
        """The groups with the log-probs that the objective compares with; called before the first step."""
        return list(groups)

    def step(self, groups: Sequence[TrainingGroup], *, max_completion: int, max_tokens: int) -> TrainingStep:
        """One optimizer step over these groups."""
        return make_step(groups, max_completion=max_completion, max_tokens=max_tokens)

    # ------------------------------------------------------------ what reward models do otherwise

    def open(self, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
        """The model that is trained."""
        from harness_plugins.training.fitting import open_trainable

        return open_trainable(self.context, self.config, parent=parent, seed=seed)

    def why_not_shareable(self, model: Any) -> str:
        """Why completions cannot share a row, "" if they can."""
        from harness_plugins.models.shared_prefix import why_not_shareable

        return why_not_shareable(model)

    def batch(
        self, model: Any, row: Row, totals: StepTotals, temperature: float, *, baseline: float = 0.0
    ) -> SequenceBatch:
        """A row through the model, as the objective sees it."""
        from harness_plugins.training.steps import sequence_batch

        with_entropy = getattr(self.objective, "needs_entropy", False)
        return sequence_batch(model, row, totals, temperature, baseline=baseline, with_entropy=with_entropy)

    def seal(self, model: Any, out: Path, probe_token_ids: Sequence[int]) -> AdapterCheckpoint:
        """What was trained, on disk."""
        from harness_plugins.models.adapters import save_adapter

        quantization = "" if self.config.quantization == "none" else self.config.quantization
        base = self.context.require_model().fingerprint
        return save_adapter(model, out, base=base, probe_token_ids=probe_token_ids, quantization=quantization)

    # ------------------------------------------------------------

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from harness_plugins.training.fitting import fit

        require_token_ids(groups, where=self.name)
        return fit(self, self.select(groups), parent=parent, out=out, seed=seed)
