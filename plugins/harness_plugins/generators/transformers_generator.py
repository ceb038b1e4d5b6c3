"""A generator over a plain transformers model: runs wherever torch does, and needs no engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from harness import chat
from harness.errors import AssetError, ConfigError, HarnessError
from harness.protocols import GivenTexts, ModelRef, RunContext
from harness.types import BASE_POLICY, AdapterCheckpoint, Completion, Group, Prompt, Sampling
from harness_plugins.generators.caching import for_decoding
from harness_plugins.generators.configs import TransformersConfig
from harness_plugins.generators.constrained import SchemaGrammars
from harness_plugins.generators.decoding import Row, decode_rows, why_not_cached
from harness_plugins.generators.sampling import uniforms
from harness_plugins.generators.scoring import text_logps
from harness_plugins.models.adapters import attach, load_policy
from harness_plugins.models.shared_prefix import attention_for, unwrapped, virtual_tokens
from harness_plugins.models.weights import saved_settings, trains_weights

NAME = "transformers"


class TransformersGenerator:
    """Samples with its own loop, so that a completion depends on its seed, prompt id and index and on nothing else.

    Up to the arithmetic, that is: in bfloat16 a matrix product depends on the batch's shape in the last bit, and a
    near-tie between two tokens can fall the other way.
    """

    def __init__(self, config: TransformersConfig, context: RunContext) -> None:
        self._model_ref, self._progress = context.require_model(), context.progress
        self._batch_size = config.batch_size
        self._tokenizer = chat.load_tokenizer(self._model_ref.path)
        self._base = _load_model(self._model_ref, config)
        if reason := why_not_cached(self._base):
            self._progress.note(f"each prompt is sampled by itself and without a cache, because {reason}")
        self._stop_ids = chat.stop_ids(self._tokenizer, self._base.generation_config)
        # A recurrent model has no limit.
        self._context = int(getattr(self._base.config.get_text_config(), "max_position_embeddings", sys.maxsize))
        self._adapted: PeftModel | None = None
        self._own: PreTrainedModel | PeftModel | None = None
        self._dtype = config.dtype
        self._version = BASE_POLICY
        self._grammars: SchemaGrammars | None = None

    # ------------------------------------------------------------ sampling

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        """Raises HarnessError when a prompt fills the context or, if constrained, has no schema to follow."""
        ids = [chat.render(self._tokenizer, prompt) for prompt in prompts]
        rows = [self._rows(prompt, len(p), n, sampling, seed) for prompt, p in zip(prompts, ids, strict=True)]
        # Like lengths together: the shorter prompts of a batch are padded to its longest.
        order = sorted(((p, g) for p in range(len(prompts)) for g in range(n)), key=lambda pg: (-len(ids[pg[0]]), pg))
        started, tokens = time.perf_counter(), 0
        with self._progress.task("generate", total=len(order)) as advance:

            def on_done(row: Row) -> None:
                nonlocal tokens
                tokens += len(row.ids)
                advance(1, tokens_per_s=tokens / (time.perf_counter() - started))

            # Whole groups where one fits: a prompt is computed in each batch that has completions of it.
            size = self._batch_size // n * n or self._batch_size
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                slots = list(dict.fromkeys(p for p, _ in batch))
                for p, g in batch:
                    rows[p][g].slot = slots.index(p)
                decode_rows(
                    self._served,
                    [ids[p] for p in slots],
                    [rows[p][g] for p, g in batch],
                    sampling=sampling,
                    stop_ids=self._stop_ids,
                    pad_id=self._pad_id,
                    on_done=on_done,
                )
        return [self._group(*parts, sampling) for parts in zip(prompts, ids, rows, strict=True)]

    def _rows(self, prompt: Prompt, length: int, n: int, sampling: Sampling, seed: int) -> list[Row]:
        budget = chat.completion_budget(prompt, length, sampling, self._context)
        matcher = self._grammar().matcher(prompt) if sampling.constrained else None
        return [
            Row(0, budget, uniforms(seed, prompt.id, g, budget), matcher.copy() if matcher else None) for g in range(n)
        ]

    def _group(self, prompt: Prompt, ids: list[int], rows: list[Row], sampling: Sampling) -> Group:
        completions = tuple(
            Completion(
                chat.decode(self._tokenizer, row.ids),
                tuple(row.ids),
                tuple(row.logps),
                "stop" if row.stopped else "length",
            )
            for row in rows
        )
        return Group(prompt, tuple(ids), completions, self._version, sampling, NAME)

    def _grammar(self) -> SchemaGrammars:
        if self._grammars is None:  # reading the vocabulary takes a second, so only when asked for
            vocab_size = self._base.get_output_embeddings().weight.shape[0]  # type: ignore[no-untyped-call]
            self._grammars = SchemaGrammars(self._tokenizer, vocab_size=vocab_size, stop_ids=sorted(self._stop_ids))
        return self._grammars

    @property
    def _pad_id(self) -> int:
        return min(self._stop_ids) if self._tokenizer.pad_token_id is None else int(self._tokenizer.pad_token_id)

    # ------------------------------------------------------------ policies

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        """Raises HarnessError when the adapter belongs to another model or its kind cannot be served here."""
        version = checkpoint.version if checkpoint else BASE_POLICY
        if version == self._version:
            return
        self._unload()
        if checkpoint is not None:
            self._load(checkpoint)
        self._version = version

    @property
    def _served(self) -> PreTrainedModel | PeftModel:
        if self._own is not None:
            return self._own
        return self._base if self._adapted is None else self._adapted

    def _load(self, checkpoint: AdapterCheckpoint) -> None:
        if checkpoint.base != self._model_ref.fingerprint:
            raise HarnessError(
                f"the adapter was trained on another model than {self._model_ref.name}",
                where=str(checkpoint.path),
                remedy="Name the model that it was trained on with --model.",
            )
        if checkpoint.quantization or trains_weights(saved_settings(checkpoint.path)):
            # Its base is not the one that is loaded here, so it comes with its own.
            self._own = load_policy(
                self._model_ref.path,
                checkpoint.path,
                self._dtype,
                quantization=checkpoint.quantization,
                device=self._base.device,
            )
            for_decoding(unwrapped(self._own))
        else:
            self._adapted = attach(self._base, checkpoint.path).eval()
        if reason := why_not_cached(self._served):
            self._progress.note(f"prompts are decoded one by one without a cache, because {reason}")

    def _unload(self) -> None:
        if self._adapted is not None:
            wraps = not virtual_tokens(self._adapted)
            # `unload` puts back the very modules that were wrapped.
            self._base = self._adapted.unload() if wraps else self._adapted.get_base_model()
            self._adapted = None
        self._own, self._version = None, BASE_POLICY

    # ------------------------------------------------------------ scoring

    @torch.inference_mode()
    def score_tokens(self, token_ids: Sequence[int]) -> tuple[float, ...]:
        """Raises HarnessError when the sequence does not fit into the context."""
        self._require_fit(len(token_ids))
        ids_1_T = torch.tensor([list(token_ids)], device=self._served.device)
        # Adapters with virtual tokens put their logits before those of the sequence.
        logits_T_V = self._served(input_ids=ids_1_T).logits[0, -len(token_ids) : -1].float()
        logps_T = torch.log_softmax(logits_T_V, dim=-1).gather(1, ids_1_T[0, 1:, None]).squeeze(1)
        return tuple(logps_T.tolist())

    def score_texts(self, given: Sequence[GivenTexts]) -> list[tuple[tuple[float, ...], ...]]:
        """Each prompt with its texts is computed by itself, so that what is found of an item does not depend on those
        beside it. Raises HarnessError when a text does not fit into the context after its prompt."""
        for prompt_ids, texts in given:
            self._require_fit(len(prompt_ids) + max(map(len, texts)))
        return [text_logps(self._served, *item) for item in self._progress.track(given, description="score texts")]

    def _require_fit(self, length: int) -> None:
        if length > self._context:
            raise HarnessError(
                f"{length} tokens to score and the context holds {self._context}",
                where="generator transformers",
                remedy="Cut the text into shorter ones.",
            )

    def close(self) -> None:
        self._unload()
        del self._base
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _load_model(model: ModelRef, config: TransformersConfig) -> PreTrainedModel:
    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    try:
        with _no_progress_bar():
            attention = attention_for(AutoConfig.from_pretrained(str(model.path)))
            loaded = AutoModelForCausalLM.from_pretrained(
                str(model.path), dtype=getattr(torch, config.dtype), attn_implementation=attention
            )
    except (OSError, ValueError) as error:
        raise AssetError(
            f"the model cannot be loaded ({str(error).splitlines()[0]})",
            where=str(model.path),
            remedy="Give a transformers model folder with safetensors.",
        ) from None
    try:
        # An adapter freezes what it wraps, for good, and PyTorch has other CPU kernels for frozen weights, which round
        # otherwise: frozen from the start, the base says the same before and after it has served an adapter.
        return for_decoding(loaded.to(device).eval().requires_grad_(False))  # type: ignore[arg-type]
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"no device {device!r} here ({str(error).splitlines()[0]})",
            where="generator transformers",
            remedy="Set device to auto.",
        ) from None


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers draws a bar of its own across the progress view."""
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def create_transformers(config: TransformersConfig, context: RunContext) -> TransformersGenerator:
    return TransformersGenerator(config, context)
