"""What an updater that drives TRL is: a job for one of its trainers. The rest is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.protocols import RunContext
from harness.training_data import require_token_ids
from harness.types import AdapterCheckpoint, ScoredGroup, Update
from harness_plugins.trl.arguments import check_args, require_trl, trl_arguments


@dataclass(frozen=True)
class Job:
    """What one update asks of a TRL trainer."""

    make_trainer: Callable[[Any, Any, Any], Any]
    """(model, tokenizer, an object of TRL's config class) -> a TRL trainer."""
    settled: Mapping[str, Any]
    """Fields of that config class that the updater decides."""
    metrics: Callable[[], Mapping[str, float]]
    """Called after training; may raise UpdateError when the training was for nothing."""
    probe_token_ids: Sequence[int]


class TrlUpdater(ABC):
    """Base of the updaters that drive TRL's trainers."""

    name: ClassVar[str]
    trl_config: ClassVar[str]
    """TRL's config class, by name."""

    def __init__(self, config: Any, context: RunContext) -> None:
        require_trl()
        check_args(config.args, self.config_class, where=self.name)
        self.config = config
        self.context = context

    @property
    def config_class(self) -> Any:
        import trl

        return getattr(trl, self.trl_config)

    @abstractmethod
    def job(self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, seed: int) -> Job:
        """What to train on. Raises UpdateError when there is nothing."""

    # ------------------------------------------------------------ what reward models do otherwise

    def open(self, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
        """The model with a trainable adapter: the parent's, or a new one."""
        from harness_plugins.trl.common import open_policy

        return open_policy(self.context, self.config.dtype, parent=parent, seed=seed)

    def seal(self, model: Any, out: Path, probe_token_ids: Sequence[int]) -> AdapterCheckpoint:
        """What was trained, on disk."""
        from harness_plugins.models.adapters import save_adapter

        return save_adapter(model, out, base=self.context.require_model().fingerprint, probe_token_ids=probe_token_ids)

    # ------------------------------------------------------------

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from harness.chat import load_tokenizer
        from harness_plugins.models.memory import release
        from harness_plugins.trl.common import run_trainer

        require_token_ids(groups, where=self.name)
        job = self.job(groups, parent=parent, seed=seed)
        tokenizer = load_tokenizer(self.context.require_model().path)

        def make_trainer(model: Any, folder: str) -> Any:
            args = trl_arguments(self.config_class, self.config, folder=folder, seed=seed, **job.settled)
            return job.make_trainer(model, tokenizer, args)

        model = self.open(parent=parent, seed=seed)
        try:
            trained = run_trainer(make_trainer, model, self.context.progress, job.metrics)
            out.mkdir(parents=True, exist_ok=True)
            return Update(self.seal(model, out, job.probe_token_ids), trained)
        finally:
            del model  # the sampler needs the memory next
            release()
