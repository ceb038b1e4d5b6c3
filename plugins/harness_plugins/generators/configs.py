"""Settings of the built-in generators. Importing this imports neither torch nor vllm."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.specs import Config

Answers = Annotated[tuple[str, ...], Field(min_length=1)]


class ScriptedConfig(Config):
    """What the `scripted` generator answers.

    The answers to a prompt are looked up under its id in `answers`, then under the served policy version in
    `by_version`, then under `*` there, then in `default`. The answer `$reference` stands for the prompt's gold answer.
    """

    answers: dict[str, Answers] = Field(default_factory=dict)
    by_version: dict[str, Answers] = Field(default_factory=dict)
    """Keys: a policy version, `base` for the model without adapter, `*` for any other."""
    default: Answers = ("",)
    pick: Literal["cycle", "random"] = "cycle"
    """`cycle`: completion i is answer i modulo their number. `random`: drawn by seed, prompt id and i."""
    logprob: Annotated[float, Field(le=0)] | None = None
    """Log-probability (natural log) reported for every token; None reports none."""


class TransformersConfig(Config):
    """Settings of the `transformers` generator."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    device: str = "auto"
    """`auto` is CUDA when there is one, else the CPU."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Completions decoded at once."""


class VllmConfig(Config):
    """Settings of the `vllm` generator."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    max_model_len: Annotated[int, Field(ge=2)] = 4096
    """Prompt and answer together, tokens; never more than the model's own context."""
    max_num_batched_tokens: Annotated[int, Field(ge=1)] = 8192
    """Tokens in one forward pass; raised to `max_model_len` so that a prompt is always computed whole."""
    max_num_seqs: Annotated[int, Field(ge=1)] = 256
    """Completions decoded at once."""
    enforce_eager: bool = False
    """Skip compilation: a minute less to start, slower afterwards."""
    kv_cache_gib: Annotated[int, Field(ge=1)] = 2
    """Key-value cache on CPU, GiB."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of each GPU for weights and cache; the rest is for training."""
    tensor_parallel_size: Annotated[int, Field(ge=1)] = 1
    max_lora_rank: Annotated[int, Field(ge=1)] = 64
    """Largest adapter rank that can be served on CUDA."""
