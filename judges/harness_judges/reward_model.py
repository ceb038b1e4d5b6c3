"""A reward model as a judge: one that `harness train reward_model` made, or any sequence classifier with one label."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import assets, chat
from harness.checkpoints import open_checkpoint
from harness.errors import AssetError, ConfigError
from harness.protocols import ModelRef, RunContext
from harness.store import artifact_digest
from harness.types import Completion, Group, Score
from harness_judges.inference import attention, equal_lengths
from harness_judges.settings import RewardModelConfig

if TYPE_CHECKING:
    from torch import Tensor

NAME = "reward_model"


class RewardModelJudge:
    """Reads prompt and answer as its own tokenizer renders them, so it can judge answers of any model."""

    def __init__(self, config: RewardModelConfig, context: RunContext) -> None:
        self.config = config
        self.progress = context.progress
        base = base_of(config, context)
        self.model = load(config, base)
        self.tokenizer = chat.load_tokenizer(base.path if base else config.path)

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        ids = [
            [*chat.render(self.tokenizer, group.prompt), *self._answer(completion)]
            for group in groups
            for completion in group.completions
        ]
        rewards = iter(self._rewards(ids))
        return [tuple(self._score(next(rewards)) for _ in group.completions) for group in groups]

    def _answer(self, completion: Completion) -> list[int]:
        """One that was cut off has no end, as in training."""
        ids = chat.encode_completion(self.tokenizer, completion.text)
        return ids[:-1] if completion.finish_reason == "length" else ids

    def _score(self, reward: float) -> Score:
        if not math.isfinite(reward):
            return Score.failed(NAME, f"the model gave {reward}")
        # The sigmoid, in the form that cannot overflow.
        return Score(NAME, 0.5 * (1 + math.tanh(reward / 2)), explanation=f"reward {reward:.4f}")

    def _rewards(self, ids: Sequence[Sequence[int]]) -> list[float]:
        import torch

        found: dict[int, float] = {}
        with self.progress.task("reward model", total=len(ids)) as advance, torch.inference_mode():
            for batch in equal_lengths(ids, self.config.batch):
                logits_B_1: Tensor = self.model(torch.tensor([ids[i] for i in batch], device=self.model.device))[0]
                found |= dict(zip(batch, logits_B_1.float()[:, 0].tolist(), strict=True))
                advance(len(batch))
        return [found[i] for i in range(len(ids))]


def base_of(config: RewardModelConfig, context: RunContext) -> ModelRef | None:
    """The model that the adapter at `path` belongs to; None where a whole model is there.

    Raises ConfigError when there is nothing, or when nothing says what the adapter belongs to.
    """
    path = config.path
    if (path / "config.json").is_file():
        if config.base is not None:
            raise ConfigError("this is a whole model, which has no base", where=str(path), remedy="Leave base out.")
        return None
    if not (path / "adapter_config.json").is_file():
        raise ConfigError(
            "neither a reward model nor a sequence classifier is here",
            where=str(path),
            remedy="Train one with `harness train reward_model`.",
        )
    lineage = path / "training.json"
    name = config.base
    if name is None and lineage.is_file():
        name = str(json.loads(lineage.read_text())["model"]["name"])
    if name is None:
        raise ConfigError("nothing says which model it belongs to", where=str(path), remedy="Set the judge's base.")
    return assets.model(name, context.progress)


def load(config: RewardModelConfig, base: ModelRef | None) -> Any:
    """The model, ready to compute. Raises AssetError or StoreError when it cannot be loaded or has no head."""
    import torch
    from transformers import AutoModelForSequenceClassification

    if base is not None:
        open_checkpoint(config.path, base=base.fingerprint, kind="reward_model")
        _require_head(config.path)
    folder = base.path if base else config.path
    options: dict[str, Any] = {"num_labels": 1} if base else {}
    try:
        options |= attention(folder)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=getattr(torch, config.dtype), local_files_only=True, use_safetensors=True, **options
        )
    except (OSError, ValueError) as error:
        raise AssetError(f"it cannot be loaded ({str(error).splitlines()[0]})", where=str(folder)) from error
    if model.config.num_labels != 1:
        raise AssetError(
            f"it has {model.config.num_labels} labels, and a reward model has one",
            where=str(config.path),
            remedy="Name a model with a scalar head.",
        )
    if base is not None:
        import peft

        model = peft.PeftModel.from_pretrained(model, config.path, local_files_only=True)
    inner = model.get_base_model() if base is not None else model
    # No sequence is padded, and a token that serves as padding may end an answer: it must be read.
    inner.config.pad_token_id = -1
    _in_float32(getattr(inner, "score", None))
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _in_float32(head: Any) -> None:
    """Rewards of siblings differ by little, and in bf16 many of them would be equal."""
    if head is not None:
        head.float().register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))


def _require_head(path: Path) -> None:
    """PEFT would put a random head where the checkpoint has none."""
    from safetensors import safe_open

    with safe_open(path / "adapter_model.safetensors", framework="pt") as file:
        if not any(".score." in name for name in file.keys()):  # noqa: SIM118 - it is no mapping
            raise AssetError(
                "the checkpoint has no head: it was not trained as a reward model",
                where=str(path),
                remedy="Train one with `harness train reward_model`.",
            )


def content(config: RewardModelConfig) -> str:
    """Digest of all that is at `path`: a classifier's config and tokenizer count as its weights do."""
    return artifact_digest(config.path)
