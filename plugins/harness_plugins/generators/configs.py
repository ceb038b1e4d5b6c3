"""Settings of the built-in generators. Importing this imports neither torch nor vllm."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from harness.seats import GeneratorSeat
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


SERVER_TRANSPORT = frozenset(("api_key_env", "max_connections", "timeout", "retries"))
"""Of a server's settings, those that change no answer."""


class ServerConfig(Config):
    """Settings of the `server` generator: any server that speaks OpenAI's chat completions.

    A server may fill in what a request leaves open with the model's own defaults (repetition penalties, top_k): start
    vLLM with `--generation-config vllm`, or set such fields in `extra_body`.
    """

    model: str | None = None
    """As the server calls it. Default: the run's model, by its name."""
    revision: str = ""
    """Which version of the model the server has, where its name does not tell."""
    base_url: str | None = None
    """Such as http://localhost:8000/v1. Default: the environment's OPENAI_BASE_URL, which is then no part of what a
    run is, so that a server may move."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key. A server of your own may need none."""
    max_connections: PositiveInt = 16
    """Requests under way at once."""
    timeout: PositiveFloat = 600.0
    """Seconds for one try. An answer comes whole, so this covers all of its tokens."""
    retries: NonNegativeInt = 5
    """Further tries after a time-out, a broken connection, status 408, 409, 429 or 5xx, with growing random waits (or
    those that the server asks for), and after a body that is no chat completion."""
    send_tools: bool = False
    """Hand tools over in the API's field `tools`, and read calls from `tool_calls`. Otherwise they are written into the
    system message, as for a model here whose template knows no tools."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit on an answer's tokens."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, as this server knows them."""

    def identity(self) -> dict[str, Any]:
        """Without what decides how fast answers come, and not what they say."""
        return {key: value for key, value in super().identity().items() if key not in SERVER_TRANSPORT}


RAY_PLACEMENT = frozenset(("address", "num_cpus", "num_gpus", "start_timeout"))
"""Of the settings of `ray`, those that say where its workers run, not what they do."""


class RayConfig(Config):
    """Settings of the `ray` generator: several of another generator, each in a worker of its own."""

    of: GeneratorSeat
    """The generator that every worker holds."""
    workers: PositiveInt = 2
    """Prompts are dealt to them in turn, so more workers than prompts in a call are idle."""
    num_cpus: PositiveFloat = 1.0
    """CPUs that a worker reserves; a whole number is also how many threads its libraries start."""
    num_gpus: NonNegativeFloat = 0.0
    """GPUs that a worker reserves and sees; with 0 it sees none. For vLLM its `tensor_parallel_size`."""
    address: str = ""
    """A running Ray cluster (`auto`: the one that this machine is part of). Default: workers on this machine, in an
    instance of Ray that ends with this generator."""
    start_timeout: PositiveFloat = 1800.0
    """Seconds until every worker must have been placed and have loaded its model."""

    def identity(self) -> dict[str, Any]:
        """Their number stays: it decides what is computed side by side, and rounding with it."""
        return {key: value for key, value in super().identity().items() if key not in RAY_PLACEMENT}
