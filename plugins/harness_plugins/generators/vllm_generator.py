"""A generator over an in-process vLLM engine: several times the throughput of a plain loop."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness import chat
from harness.errors import ConfigError, HarnessError
from harness.protocols import GivenTexts, RunContext
from harness.types import BASE_POLICY, AdapterCheckpoint, Completion, FinishReason, Group, Prompt, Sampling
from harness_plugins.generators.configs import VllmConfig
from harness_plugins.generators.constrained import grammar_schema
from harness_plugins.generators.engine import start_engine
from harness_plugins.generators.seeds import request_seed
from harness_plugins.models.weights import saved_settings

if TYPE_CHECKING:
    from vllm import CompletionOutput, RequestOutput, SamplingParams

NAME = "vllm"
_UNKNOWN = "unknown"
VIRTUAL_TOKENS = {"PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING", "CPT"}
NOT_BY_REQUEST = ("use_dora", "lora_bias", "use_qalora", "layer_replication", "alora_invocation_tokens", "use_bdlora")
"""Fields of a LoRA config that vLLM refuses when they are set."""


class VllmGenerator:
    """Keeps one engine for its life and changes the weights it serves.

    On CUDA a LoRA adapter rides along with each request. On CPU that decodes several times slower, and other kinds
    cannot: the adapter is merged into a copy of the model and the engine reloads its weights in place, in under a
    second.
    """

    def __init__(self, config: VllmConfig, context: RunContext) -> None:
        from transformers import AutoConfig

        kind = str(context.adapter.get("peft_type", ""))
        if kind.upper() in VIRTUAL_TOKENS:
            raise ConfigError(
                f"{kind} puts tokens before the prompt: vLLM serves no such adapter, and it cannot be merged",
                where="generator vllm",
                remedy='Sample with [generator] name = "transformers", or choose an adapter that changes weights.',
            )
        self._model, self._progress, self._config = context.require_model(), context.progress, config
        self._tokenizer = chat.load_tokenizer(self._model.path)
        model_config = AutoConfig.from_pretrained(str(self._model.path)).get_text_config()
        self._context = min(config.max_model_len, int(model_config.max_position_embeddings))
        self._stop_ids = chat.stop_ids(self._tokenizer, chat.load_generation_config(self._model.path))
        with self._progress.task("start vllm"):
            self._engine = start_engine(self._model, config, context=self._context, seed=context.seed)
        self._llm = self._engine.llm
        self._version = BASE_POLICY
        self._lora: Any = None
        self._merged = False
        self._swaps = 0

    # ------------------------------------------------------------ sampling

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        """Log-probabilities are None when sampling is truncated or constrained: the engine then reports those of the
        truncated distribution, which are not the policy's.

        Raises HarnessError when a prompt fills the context or, if constrained, has no schema.
        """
        ids = [chat.render(self._tokenizer, prompt) for prompt in prompts]
        requests = {
            f"{p}/{g}": (ids[p], self._params(prompt, len(ids[p]), g, sampling, seed))
            for p, prompt in enumerate(prompts)
            for g in range(n)
        }
        started, tokens = time.perf_counter(), 0
        with self._progress.task("generate", total=len(requests)) as advance:

            def on_done(output: RequestOutput) -> None:
                nonlocal tokens
                tokens += len(output.outputs[0].token_ids)
                advance(1, tokens_per_s=tokens / (time.perf_counter() - started))

            outputs = self._run(requests, on_done)
        return [
            Group(
                prompt,
                tuple(ids[p]),
                tuple(self._completion(outputs[f"{p}/{g}"].outputs[0], sampling) for g in range(n)),
                self._version,
                sampling,
                NAME,
            )
            for p, prompt in enumerate(prompts)
        ]

    def _params(self, prompt: Prompt, length: int, index: int, sampling: Sampling, seed: int) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        structured = StructuredOutputsParams(json=dict(grammar_schema(prompt))) if sampling.constrained else None
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            max_tokens=chat.completion_budget(prompt, length, sampling, self._context),
            seed=request_seed(seed, prompt.id, index),
            stop_token_ids=sorted(self._stop_ids),
            logprobs=0 if _reports_policy(sampling) else None,
            flat_logprobs=True,
            structured_outputs=structured,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _run(
        self, requests: Mapping[str, tuple[Sequence[int], SamplingParams]], on_done: Callable[[RequestOutput], None]
    ) -> dict[str, RequestOutput]:
        """Answers by request id; an interrupt leaves no request behind in the engine.

        The engine starts on all requests together and with an empty prefix cache. Otherwise what it computes side by
        side depends on timing and history, rounding with it, and equal arguments would not give equal samples.
        """
        engine = self._llm.llm_engine
        outputs: dict[str, RequestOutput] = {}
        self._llm.reset_prefix_cache()
        try:
            self._llm.sleep(level=0, mode="keep")
            try:
                for name, (ids, params) in requests.items():
                    engine.add_request(name, {"prompt_token_ids": list(ids)}, params, lora_request=self._lora)
            finally:
                self._llm.wake_up(tags=["scheduling"])
            while engine.has_unfinished_requests():
                for output in cast("list[RequestOutput]", engine.step()):
                    outputs[output.request_id] = output
                    on_done(output)
        except BaseException:  # whatever it is, the engine must not go on with requests that no one waits for
            engine.abort_request([name for name in requests if name not in outputs])
            raise
        return outputs

    def _completion(self, output: CompletionOutput, sampling: Sampling) -> Completion:
        ids = tuple(output.token_ids)
        logprobs = _last(output.logprobs, ids) if _reports_policy(sampling) else None
        finish: FinishReason = "stop" if output.finish_reason == "stop" else "length"
        return Completion(chat.decode(self._tokenizer, ids), ids, logprobs, finish)

    # ------------------------------------------------------------ policies

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        """Raises HarnessError when the adapter belongs to another model, AssetError when it cannot be merged."""
        version = checkpoint.version if checkpoint else BASE_POLICY
        if version == self._version:
            return
        if checkpoint is not None and checkpoint.base != self._model.fingerprint:
            raise HarnessError(
                f"the adapter was trained on another model than {self._model.name}",
                where=str(checkpoint.path),
                remedy="Name the model that it was trained on with --model.",
            )
        self._version = _UNKNOWN  # until the swap is through: if it fails, the next call must not skip it
        rides = checkpoint is None or rides_with_requests(checkpoint, self._config.max_lora_rank)
        by_request = self._engine.by_request and rides
        if checkpoint is not None and not by_request:
            self._lora, self._merged = None, True
            self._merge_and_reload(checkpoint)
        elif self._merged:
            self._reload(self._model.path)
            self._merged = False
        if by_request:
            self._attach(checkpoint)
        self._version = version

    def _attach(self, checkpoint: AdapterCheckpoint | None) -> None:
        from vllm.lora.request import LoRARequest

        self._swaps += 1
        # Adapters are cached by id: with a new id for every swap, an earlier one can never be served by mistake.
        self._lora = LoRARequest(checkpoint.version, self._swaps, str(checkpoint.path)) if checkpoint else None
        self._llm.reset_prefix_cache()

    def _merge_and_reload(self, checkpoint: AdapterCheckpoint) -> None:
        from harness_plugins.models.merging import merge_adapter

        with tempfile.TemporaryDirectory(prefix="harness-merged-") as folder:
            started = time.perf_counter()
            merge_adapter(self._model.path, checkpoint.path, Path(folder), dtype=self._config.dtype)
            merged = time.perf_counter()
            self._reload(Path(folder))
            swapped = time.perf_counter()
        self._progress.note(f"adapter merged in {merged - started:.1f} s, swapped in {swapped - merged:.1f} s")

    def _reload(self, folder: Path) -> None:
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        self._llm.reset_prefix_cache()

    # ------------------------------------------------------------ scoring

    def score_tokens(self, token_ids: Sequence[int]) -> tuple[float, ...]:
        """Raises HarnessError when the sequence does not fit into the context with one token to spare."""
        [[logps_T]] = self._scored([(token_ids[:1], [token_ids[1:]])], lambda _: None)
        return logps_T

    def score_texts(self, given: Sequence[GivenTexts]) -> list[tuple[tuple[float, ...], ...]]:
        """Raises HarnessError when a text does not fit into the context after its prompt with one token to spare."""
        with self._progress.task("score texts", total=sum(len(texts) for _, texts in given)) as advance:
            return self._scored(given, lambda _: advance())

    def _scored(
        self, given: Sequence[GivenTexts], on_done: Callable[[RequestOutput], None]
    ) -> list[tuple[tuple[float, ...], ...]]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=0,
            max_tokens=1,
            prompt_logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        requests = {
            f"{p}/{t}": ([*prompt_ids, *ids], params)
            for p, (prompt_ids, texts) in enumerate(given)
            for t, ids in enumerate(texts)
        }
        longest = max((len(ids) for ids, _ in requests.values()), default=0)
        if longest >= self._context:
            raise HarnessError(
                f"{longest} tokens to score and the context holds {self._context}",
                where="generator vllm",
                remedy="Raise max_model_len.",
            )
        outputs = self._run(requests, on_done)
        return [
            tuple(_last(outputs[f"{p}/{t}"].prompt_logprobs, ids) for t, ids in enumerate(texts))
            for p, (_, texts) in enumerate(given)
        ]

    def close(self) -> None:
        self._engine.stop()


def rides_with_requests(checkpoint: AdapterCheckpoint, max_rank: int) -> bool:
    """Whether vLLM applies this adapter by itself: plain LoRA does, on the base as it is served. All else is merged."""
    settings = saved_settings(checkpoint.path)
    if settings.get("peft_type") != "LORA" or checkpoint.quantization or any(map(settings.get, NOT_BY_REQUEST)):
        return False
    return max([settings["r"], *(settings.get("rank_pattern") or {}).values()]) <= max_rank


def _last(record: Any, token_ids: Sequence[int]) -> tuple[float, ...]:
    """The log-probabilities of the tokens that vLLM's flat record ends with: it has one value a token."""
    start = len(record.token_ids) - len(token_ids)
    if record.token_ids[start:] != list(token_ids):
        raise HarnessError("vllm's log-probabilities are not those of the tokens", where="generator vllm")
    return tuple(record.logprobs[start:])


def _reports_policy(sampling: Sampling) -> bool:
    greedy = sampling.temperature == 0
    truncated = sampling.top_p < 1 or sampling.top_k > 0 or sampling.min_p > 0
    return not sampling.constrained and (greedy or not truncated)


def create_vllm(config: VllmConfig, context: RunContext) -> VllmGenerator:
    return VllmGenerator(config, context)
