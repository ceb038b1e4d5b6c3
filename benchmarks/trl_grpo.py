"""TRL's GRPOTrainer as benchmarks set it up: on our prompts, from our adapter, rewarded by the suite's judges.

Heavy imports are within functions, or the processes of an engine that a benchmark starts would import them too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UpdateError
from harness.plugins import Registry
from harness.protocols import RunContext, Suite
from harness.types import AdapterCheckpoint, Sampling, ScoredGroup


@dataclass(frozen=True)
class Grpo:
    """`model` is trained in place by `trainer.train()`; `job.metrics()` says afterwards what it sampled."""

    trainer: Any
    model: Any
    updater: Any
    job: Any


def make_grpo(
    suite: Suite,
    groups: Sequence[ScoredGroup],
    registry: Registry,
    context: RunContext,
    *,
    parent: AdapterCheckpoint | None,
    sampling: Sampling,
    n: int,
    groups_per_step: int,
    learning_rate: float,
    folder: Path,
    seed: int,
    epochs: int = 1,
    dtype: str = "bfloat16",
) -> Grpo:
    """An optimizer step takes `groups_per_step` prompts, which are sampled together; a forward pass takes one of them.
    DAPO's loss, which is TRL's default. Only the prompts of `groups` are used."""
    from transformers import PrinterCallback

    from harness.chat import load_tokenizer
    from harness.independence import uses_for
    from harness_plugins.trl.arguments import trl_arguments
    from harness_plugins.trl.common import silence

    settings = {
        "judges": [{"name": j.name, "config": j.config, "weight": j.weight} for j in uses_for(suite, "train")],
        "learning_rate": learning_rate,
        "epochs": epochs,
        "dtype": dtype,
        "groups_per_step": 1,
        "n": n,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "args": {"loss_type": "dapo", "gradient_accumulation_steps": groups_per_step},
    }
    updater = registry.create("updater", "trl-grpo", settings, context)
    job = updater.job(groups, parent=parent, seed=seed)
    model = updater.open(parent=parent, seed=seed)
    with silence():
        args = trl_arguments(updater.config_class, updater.config, folder=str(folder), seed=seed, **job.settled)
        trainer = job.make_trainer(model, load_tokenizer(context.require_model().path), args)
    trainer.remove_callback(PrinterCallback)
    return Grpo(trainer, model, updater, job)


def train_for(
    made: Grpo, out: Path, name: str, *, spent: float, limit: float, every: float, note: Callable[[str], None]
) -> None:
    """Train until `limit` seconds, of which `spent` are over, and seal the adapter in `out/NAME-SECONDS` every so many
    seconds and at the end. Its `mark.json` has the `seconds`, and the `signal` in the groups that were sampled."""
    from transformers import TrainerCallback

    from harness_plugins.trl.common import silence

    class Marks(TrainerCallback):
        """The clock stands while an adapter is sealed."""

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.origin = time.monotonic() - spent
            self.due = min(spent + every, limit)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            taken = time.monotonic() - self.origin
            note(f"{name}, step {state.global_step}: {taken:.0f} of {limit:.0f} s")
            if taken >= self.due:
                folder = out / f"{name}-{taken:.0f}"
                folder.mkdir()
                made.updater.seal(made.model, folder, made.job.probe_token_ids)
                (folder / "mark.json").write_text(json.dumps({"seconds": taken, "signal": signal(made)}))
                self.origin = time.monotonic() - taken
                self.due = min(taken + every, limit)
                control.should_training_stop = taken >= limit

    made.trainer.add_callback(Marks())
    with silence():
        made.trainer.train()


def signal(made: Grpo) -> str:
    """Of what was sampled since training began."""
    try:
        figures = made.job.metrics()
    except UpdateError as error:
        return error.what
    groups = figures["update/completions"] / made.trainer.num_generations
    return f"{groups - figures['update/groups_without_signal']:.0f} of {groups:.0f} groups with signal"
