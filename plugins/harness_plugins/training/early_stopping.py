"""Early stopping: measure every k optimizer steps, keep the best weights, stop when they no longer get better."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness.errors import UpdateError

WEIGHTS, FIGURES = "best.safetensors", "best.json"


@dataclass
class EarlyStopping:
    """`measure` is a loss: lower is better. `patience` measurements in a row without a new best end the training."""

    measure: Callable[[Any, int], float]
    """(model, optimizer step) -> what is watched; step 0 is before training."""
    name: str
    every: int
    patience: int
    values: list[tuple[int, float]] = field(default_factory=list)
    """(optimizer step, measured) in order; step 0 is before training."""
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def best(self) -> tuple[int, float]:
        return min(self.values, key=lambda pair: (pair[1], pair[0]))

    def look(self, model: Any, step: int) -> bool:
        """Measure after `step`, and say whether training should stop."""
        self.values.append((step, self.measure(model, step)))
        if self.best[0] == step:
            self.weights = {name: p.detach().cpu().clone() for name, p in _trained(model)}
        return self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether `patience` measurements have passed since the best."""
        taken = [place for place, _ in self.values]
        return len(taken) - 1 - taken.index(self.best[0]) >= self.patience

    @torch.no_grad()
    def put_back_best(self, model: Any) -> None:
        """Raises UpdateError when no measurement was better than that before training."""
        step, _ = self.best
        if step == 0:
            shown = ", ".join(f"{measured:.4f} at step {place}" for place, measured in self.values)
            raise UpdateError(
                f"the {self.name} never got better than before training ({shown})",
                where="early stopping",
                remedy="Lower the learning rate, or look at the data.",
            )
        for name, parameter in _trained(model):
            parameter.copy_(self.weights[name])

    @property
    def metrics(self) -> dict[str, float]:
        step, value = self.best
        last = self.values[-1][0]
        return {
            "update/validation_first": self.values[0][1],
            "update/validation_best": value,
            "update/validation_best_step": float(step),
            "update/validation_last_step": float(last),
        }

    # ------------------------------------------------------------ across an interruption

    def save(self, folder: Path) -> None:
        save_file(self.weights, folder / WEIGHTS)
        (folder / FIGURES).write_text(json.dumps(self.values))

    def restore(self, folder: Path) -> None:
        self.weights = load_file(folder / WEIGHTS)
        self.values = [(step, value) for step, value in json.loads((folder / FIGURES).read_text())]


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
