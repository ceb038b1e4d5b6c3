"""Checkpoints in the middle of an update, so that a killed update goes on where it was.

The Trainer writes them (weights, optimizer, schedule, random state). What makes one count is `harness.json`, written
last: it names the plan of the update, so that the checkpoint of another update is never taken up.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import AdaLoraConfig, PromptEncoderConfig
from transformers import TrainerCallback

from harness.durable import fsync_tree, write_text
from harness_plugins.training.processes import agreed, processes

if TYPE_CHECKING:
    from harness_plugins.training.steps import StepTrainer

MARK = "harness.json"
KEPT = 2
"""Checkpoints that are kept: one is whole while the next is written."""


class Resuming(TrainerCallback):
    """Marks the Trainer's checkpoints as whole, with what the Trainer does not know of."""

    def __init__(self, trainer: StepTrainer, plan: str) -> None:
        self.trainer = trainer
        self.plan = plan

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        processes().wait_for_everyone()  # each has written its random state
        if processes().is_main_process:
            if self.trainer.stopping is not None:
                self.trainer.stopping.save(folder)
            fsync_tree(folder)
            figures = {name: list(values) for name, values in self.trainer.history.items()}
            write_text(folder / MARK, json.dumps({"plan": self.plan, "history": figures}))
        processes().wait_for_everyone()


def why_not_resumable(model: Any) -> str:
    """Why a checkpoint of this adapter would not hold all that training needs, "" if it would."""
    config = getattr(model, "peft_config", {}).get("default")
    if isinstance(config, AdaLoraConfig):
        return "the importance of AdaLoRA's ranks is in none"
    if isinstance(config, PromptEncoderConfig) or getattr(config, "prefix_projection", False):
        return "they would hold what the prompt encoder gives and not the encoder"
    return ""


def take_up(trainer: StepTrainer, scratch: Path, plan: str) -> Path | None:
    """The newest whole checkpoint of this plan in `scratch`, None if there is none. All others are removed."""
    newest = agreed(_newest(scratch, plan) if processes().is_main_process else None)
    if newest is None:
        return None
    folder = scratch / newest
    for name, values in json.loads((folder / MARK).read_text())["history"].items():
        trainer.history[name] = values
    if trainer.stopping is not None:
        trainer.stopping.restore(folder)
    return folder


def _newest(scratch: Path, plan: str) -> str | None:
    found = []
    for folder in sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2])):
        mark = folder / MARK
        if mark.is_file() and json.loads(mark.read_text())["plan"] == plan:
            found.append(folder.name)
        else:
            shutil.rmtree(folder)
    return found[-1] if found else None
