"""The `similarity` judge: is the meaning of the answer that of the reference?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import assets, chat
from harness.errors import AssetError
from harness.protocols import ModelRef, RunContext
from harness.types import Group, Score
from harness_judges.inference import attention, equal_lengths
from harness_judges.settings import SimilarityConfig

if TYPE_CHECKING:
    from torch import Tensor

NAME = "similarity"


class SimilarityJudge:
    """(1 + cos) / 2, with cos the cosine of the embeddings of the answer and of `Prompt.reference`.

    An embedding is the mean, in float32, of the model's last hidden states at all tokens of a text, those included that
    its tokenizer puts around one. A text that is longer than the model reads is cut, which the explanation says. An
    empty answer is worth 0; without a reference the judge abstains.
    """

    def __init__(self, config: SimilarityConfig, context: RunContext) -> None:
        self.config = config
        self.progress = context.progress
        model = assets.model(config.model, context.progress)
        self.tokenizer = chat.load_tokenizer(model.path)
        self.model = load(config, model)
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        self.limit = min(self.tokenizer.model_max_length, positions or self.tokenizer.model_max_length)

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        judged = [group for group in groups if group.prompt.reference]
        texts = {c.text: None for group in judged for c in group.completions}
        texts |= {group.prompt.reference or "": None for group in judged}
        ids = {text: self._ids(text) for text in texts if text.strip()}
        found = dict(zip(ids, self._embeddings([kept for kept, _ in ids.values()]), strict=True))
        cut = {text for text, (_, whole) in ids.items() if not whole}
        return [
            tuple(self._score(c.text, group.prompt.reference, found, cut) for c in group.completions)
            for group in groups
        ]

    def _ids(self, text: str) -> tuple[list[int], bool]:
        """Token ids that the model can read, and whether they are all of them."""
        ids = self.tokenizer(text)["input_ids"]
        if len(ids) <= self.limit:
            return ids, True
        return self.tokenizer(text, truncation=True, max_length=self.limit)["input_ids"], False

    def _score(self, text: str, reference: str | None, found: dict[str, Tensor], cut: set[str]) -> Score:
        if reference is None or not reference.strip():
            return Score.abstained(NAME, "the prompt has no reference")
        if not text.strip():
            return Score(NAME, 0.0, label="empty", explanation="the answer is empty")
        cosine = float(found[text] @ found[reference])
        if not math.isfinite(cosine):
            return Score.failed(NAME, f"the model gave {cosine}")
        why = f"cosine {cosine:.4f}" + (f", of the first {self.limit} tokens" if {text, reference} & cut else "")
        return Score(NAME, min(1.0, max(0.0, (1 + cosine) / 2)), explanation=why)

    def _embeddings(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Of unit length, on the CPU."""
        import torch

        found: dict[int, Tensor] = {}
        with self.progress.task("embeddings", total=len(ids)) as advance, torch.inference_mode():
            for batch in equal_lengths(ids, self.config.batch):
                ids_B_T = torch.tensor([ids[i] for i in batch], device=self.model.device)
                hidden_B_T_H = self.model(input_ids=ids_B_T, attention_mask=torch.ones_like(ids_B_T))[0]
                mean_B_H = hidden_B_T_H.float().mean(1)
                found |= dict(zip(batch, torch.nn.functional.normalize(mean_B_H).cpu(), strict=True))
                advance(len(batch))
        return [found[i] for i in range(len(ids))]


def load(config: SimilarityConfig, model: ModelRef) -> Any:
    """The model, ready to compute. Raises AssetError when it cannot be loaded or weights are missing."""
    import torch
    from transformers import AutoModel

    try:
        loaded, info = AutoModel.from_pretrained(
            model.path,
            dtype=getattr(torch, config.dtype),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **attention(model.path),
        )
    except (OSError, ValueError) as error:
        raise AssetError(f"it cannot be loaded ({str(error).splitlines()[0]})", where=str(model.path)) from error
    # A pooler comes after the hidden states, and many encoders are saved without one.
    if missing := sorted(key for key in info["missing_keys"] if not key.startswith("pooler.")):
        raise AssetError(f"it lacks weights, such as {missing[0]}", where=str(model.path), remedy="Name a whole model.")
    if loaded.config.is_encoder_decoder:
        loaded = loaded.get_encoder()
    return loaded.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def content(config: SimilarityConfig) -> str:
    """Fingerprint of the model: weights, config and tokenizer."""
    return assets.model(config.model).fingerprint
