"""Sentence embeddings: the mean of an encoder's last hidden states, of unit length (Reimers and Gurevych 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import assets, chat
from harness.errors import AssetError
from harness.protocols import RunContext
from harness_plugins.filters.duplicates.settings import SemanticConfig, TopicConfig

Vectors = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
_BATCH = 32


class Embedder:
    """The model is fetched when this is made, and loaded when the first text comes.

    Texts of one length are computed together, so none is padded: what a text gets depends on its company only by how
    the processor orders sums, by less than half precision shows but for a last bit here and there.
    """

    def __init__(self, config: SemanticConfig | TopicConfig, context: RunContext) -> None:
        self.config = config
        self.model = assets.model(config.model, context.progress)

    def embed(self, texts: Sequence[str]) -> tuple[Halves, list[str]]:
        """Vectors [N, D], and a digest of what of each text is not read, "" where all is. An empty text has the first
        unit vector, whatever the model."""
        ids = {text: self._ids(text) for text in texts if text.strip()}
        found = dict(zip(ids, self._forward([read for read, _ in ids.values()]), strict=True))
        empty = np.zeros(self.width, dtype=np.float16)
        empty[0] = 1
        vectors = np.array([found.get(text, empty) for text in texts], dtype=np.float16)
        return vectors.reshape(len(texts), -1), [ids[text][1] if text in ids else "" for text in texts]

    @cached_property
    def width(self) -> int:
        """Numbers in a vector, D."""
        from transformers import AutoConfig

        return int(AutoConfig.from_pretrained(self.model.path, local_files_only=True).get_text_config().hidden_size)

    def _ids(self, text: str) -> tuple[list[int], str]:
        ids = self._tokenizer(text, verbose=False)["input_ids"]
        limit = min(self.config.tokens, getattr(self._encoder.config, "max_position_embeddings", self.config.tokens))
        if len(ids) <= limit:
            return ids, ""
        # The last is the token that tokenizers of encoders put behind a text.
        return [*ids[: limit - 1], ids[-1]], blake2b(repr(ids[limit - 1 :]).encode(), digest_size=8).hexdigest()

    def _forward(self, ids: Sequence[Sequence[int]]) -> Halves:
        import torch

        vectors = np.empty((len(ids), self.width), dtype=np.float16)
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        with torch.inference_mode():
            for _, alike in groupby(order, key=lambda place: len(ids[place])):
                places = list(alike)
                for start in range(0, len(places), _BATCH):
                    batch = places[start : start + _BATCH]
                    ids_B_T = torch.tensor([ids[place] for place in batch], device=self._encoder.device)
                    hidden_B_T_H = self._encoder(input_ids=ids_B_T, attention_mask=torch.ones_like(ids_B_T))[0]
                    mean_B_H = torch.nn.functional.normalize(hidden_B_T_H.float().mean(1))
                    vectors[batch] = mean_B_H.cpu().numpy()
        return vectors

    @cached_property
    def _tokenizer(self) -> Any:
        return chat.load_tokenizer(self.model.path)

    @cached_property
    def _encoder(self) -> Any:
        import torch
        from transformers import AutoModel
        from transformers.utils import logging

        bars_were_on = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model = AutoModel.from_pretrained(
                self.model.path, dtype=getattr(torch, self.config.dtype), local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            what = f"it cannot be loaded ({str(error).splitlines()[0]})"
            raise AssetError(what, where=str(self.model.path), remedy="Name a folder that holds an encoder.") from error
        finally:
            if bars_were_on:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
