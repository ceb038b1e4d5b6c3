"""Settings of the judges that ask a language model. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from harness.specs import Config


class ServerConfig(Config):
    """`provider_config` of `provider = "openai"`: any server that speaks OpenAI's chat completions."""

    base_url: str | None = None
    """Such as http://localhost:8000/v1. Default: the environment's OPENAI_BASE_URL, which is then no part of what a
    run is, so that a server may move."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key. A server of your own may need none."""
    concurrency: PositiveInt = 32
    """Requests under way at once."""
    requests_per_minute: NonNegativeFloat = 0.0
    """Questions are started no faster than this; 0 sets no limit. Retries come on top."""
    timeout: PositiveFloat = 60.0
    """Seconds for one try."""
    retries: NonNegativeInt = 5
    """Further tries after a time-out, a broken connection, or status 408, 409, 429 or 5xx, with growing random waits
    (or those that the server asks for)."""
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How the server is asked to hold a reply to its schema. It is checked against the schema in any case."""
    input_price: NonNegativeFloat = 0.0
    """Cost of a million tokens read, in any currency."""
    output_price: NonNegativeFloat = 0.0
    """Cost of a million tokens written."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, as this server knows them."""


TRANSPORT = frozenset(
    ("api_key_env", "concurrency", "requests_per_minute", "timeout", "retries", "input_price", "output_price")
)
"""Of a server's settings, those that change no reply."""


class AskingConfig(Config):
    """What every judge that asks a model can be told."""

    model: str
    """As the server calls it; for a generator an asset, a folder or a hub id."""
    provider: str = "openai"
    """`openai` for an HTTP server, or one of the generators, such as `vllm` or `transformers`."""
    provider_config: dict[str, Any] = Field(default_factory=dict)
    """Settings of the server (base_url, concurrency, ...), or the generator's own."""
    revision: str = ""
    """Which version of the model a server has, where its name does not tell: verdicts of two are never mixed."""
    family: str = ""
    """What it shares its views with, such as `llama`: a judge is no independent evidence of what another of its family
    was trained against. Default: the model's name."""
    prompt: Path | None = None
    """A file in place of the built-in template, of which `harness_judges/llm/templates` has one for each judge."""
    max_tokens: PositiveInt = 512
    """Of a reply."""
    temperature: NonNegativeFloat = 0.0
    attempts: PositiveInt = 3
    """How often a question is asked whose reply cannot be read; from the second time on at a temperature of at least
    0.5. After the last the verdict has failed: unscored, not 0."""
    cache: bool = True
    """Keep replies in the user's cache, so that no question is paid for twice."""

    def identity(self) -> dict[str, Any]:
        """Without what decides how fast and at what price replies come, and not what they say."""
        asked = super().identity()
        del asked["cache"]
        if self.provider == "openai":
            asked["provider_config"] = {k: v for k, v in self.provider_config.items() if k not in TRANSPORT}
        return asked


class LlmConfig(AskingConfig):
    """A verdict on each answer by a rubric."""

    rubric: Path | None = None
    """A TOML file with [[criteria]]: name, question, levels from worst to best, and a weight. Default: helpfulness in
    three criteria."""
    score: Literal["verdict", "expected"] = "verdict"
    """`verdict` asks once for a JSON object with a level for each criterion. `expected` asks for each criterion by
    itself and takes the mean of the levels by their probabilities as the reply's first word, which suits small models
    and gives finer values (G-Eval, arXiv:2303.16634)."""
    reasoning: bool = True
    """Whether a verdict starts with a sentence of reasons."""
    reference: bool = True
    """Whether the prompt's reference answer is shown, where it has one."""
    min_mass: float = Field(default=0.05, ge=0, le=1)
    """With `expected`: the probability that the levels must have together; below it the verdict has failed."""


class PairwiseConfig(AskingConfig):
    """Which of two answers is better, asked in both orders."""

    against: Literal["reference", "siblings"] = "reference"
    """What an answer is compared with: the prompt's reference answer, or the other answers of its group."""
    pairs: Literal["all", "ring"] = "ring"
    """Of siblings, every two, or each with the next: n comparisons instead of n(n-1)/2."""
    reasoning: bool = True
    """Whether a verdict starts with a sentence of reasons."""


class RankConfig(AskingConfig):
    """All answers of a group in order of merit, in one question, as they come: two to 26 different ones."""

    reasoning: bool = True
    """Whether a verdict starts with a sentence of reasons."""
