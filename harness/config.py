"""What a loop is told: TOML, checked by pydantic, overridden by `--set key=value` and flags.

Later ones win: defaults, the suite's own `[recipe]`, the config file, `--set`, flags.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveInt, SerializerFunctionWrapHandler, model_serializer

from harness.data.filtering import FilterUse
from harness.errors import ConfigError
from harness.gate import GateConfig, TargetRule
from harness.monitors import MonitorsConfig
from harness.rewards import JudgingConfig
from harness.specs import Config
from harness.stopping import StopConfig


class GeneratorRef(Config):
    """`[generator]`: what samples the policy. `auto` is vLLM where it is installed, else transformers."""

    name: str = "auto"
    config: dict[str, Any] = Field(default_factory=dict)


SAMPLING_SETTINGS = frozenset(("generator", "prompts", "n", "replay", "temperature", "max_tokens", "reward_weights"))
"""What of a stage is about sampling and judging."""


class Stage(Config):
    """`[[stages]]`: rounds that are alike. Each samples, judges, updates, evaluates and is gated.

    With `data` nothing is sampled and nothing judged, and the settings of both are left out of what is printed.
    """

    updater: str = Field(description="what trains: a plugin name, see `harness plugins`")
    data: str | None = Field(
        default=None,
        min_length=1,
        description="rows to train on instead of sampling (.jsonl or .parquet), relative to the config file",
    )
    generator: str = Field(
        default="policy", description="`policy` (what [generator] names) or another, such as `reference`"
    )
    rounds: int = Field(default=1, ge=1)
    prompts: int = Field(default=32, ge=1, description="training prompts a round")
    n: int = Field(default=1, ge=1, description="completions a prompt (the group size)")
    replay: dict[str, PositiveInt] = Field(
        default_factory=dict, description="training prompts a round from suites beside, against forgetting: {general=9}"
    )
    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1, description="completion tokens; default: the suite's")
    reward_weights: dict[str, float] = Field(default_factory=dict, description="overrides the suite's judge weights")
    gate: TargetRule = Field(
        default="gain", description="what the target must show: `gain`, or `hold` for a stage that only prepares"
    )
    config: dict[str, Any] = Field(default_factory=dict, description="the updater's own settings")

    @property
    def unread(self) -> list[str]:
        """Settings that were given and that a stage with `data` does not read."""
        return sorted(self.model_fields_set & SAMPLING_SETTINGS) if self.data is not None else []

    @model_serializer(mode="wrap")
    def _without_unread(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        return {k: v for k, v in values.items() if self.data is None or k not in SAMPLING_SETTINGS}


class LauncherConfig(Config):
    """`[launcher]`: processes that an update runs in. Without it there is one, this one."""

    name: Literal["accelerate"] = "accelerate"
    num_processes: int | None = Field(default=None, ge=1, description="default: the config file's")
    config_file: Path | None = Field(
        default=None, description="of `accelerate config`: DDP, FSDP, DeepSpeed; see examples/accelerate"
    )


class DataConfig(Config):
    """`[data]`: what of a round's samples, and of the rows of files, is trained on."""

    filters: list[FilterUse] = Field(
        default_factory=list, description="what a round's scored groups pass through; see `harness plugins`"
    )
    leakage: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="training prompts that a suite evaluates on, or nearly: `refuse` to start, or `drop` them",
    )
    exclude: list[str] = Field(
        default_factory=list, description="never trained on: prompt ids, FILE, FILE:LINE, or suites"
    )

    def sifts(self, stage: Stage) -> bool:
        """Whether rounds of this stage have a data step. What suites hold is taken out before it is drawn."""
        return bool(self.filters) or (stage.data is not None and (bool(self.exclude) or self.leakage == "drop"))


class EvalConfig(Config):
    """`[eval]`: how suites are evaluated, in a loop and alone."""

    limit: int | None = Field(default=None, ge=1, description="first N items of each suite")
    epochs: int = Field(default=1, ge=1, description="completions an item; its score is their mean")
    temperature: float | None = Field(default=None, ge=0, description="default: the suite's own")
    constrained: bool = Field(default=False, description="hold answers to the item's schema or tools while decoding")


class LoopConfig(Config):
    """A whole loop. `harness loop --dry-run` prints one with every default filled in."""

    suite: str = Field(description="the target: a suite's name or folder")
    model: str = Field(default="smollm2-135m", description="an asset, a local folder, or a model-hub id")
    seed: int = 0
    beside: list[str] = Field(
        default_factory=list, description="suites evaluated beside the target, in their own roles"
    )
    generator: GeneratorRef = GeneratorRef()
    stages: list[Stage] = Field(min_length=1)
    data: DataConfig = DataConfig()
    adapter: dict[str, Any] = Field(default_factory=dict, description="a PEFT config: peft_type and its own fields")
    launcher: LauncherConfig | None = Field(
        default=None, description="processes that updates run in; default: this one"
    )
    eval: EvalConfig = EvalConfig()
    judges: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="settings over the suites' own, by judge: {llm = {model = 'm'}}"
    )
    judging: JudgingConfig = JudgingConfig()
    gate: GateConfig = GateConfig()
    stop: StopConfig = StopConfig()
    monitors: MonitorsConfig = MonitorsConfig()

    @property
    def rounds(self) -> int:
        return sum(stage.rounds for stage in self.stages)

    def stage_of(self, index: int) -> Stage:
        """The stage of round `index` (1-based)."""
        last_rounds = accumulate(stage.rounds for stage in self.stages)
        return next(stage for stage, last in zip(self.stages, last_rounds, strict=True) if index <= last)

    def sources(self, index: int) -> list[tuple[str | None, int, int]]:
        """What round `index` draws: (suite, how many prompts, how many earlier rounds took). None is the target."""
        taken = self.taken(index)
        return [(name, count, taken[name]) for name, count in _drawn(self.stage_of(index)).items()]

    def taken(self, index: int) -> Counter[str | None]:
        """How many prompts the rounds before round `index` draw, by suite."""
        taken: Counter[str | None] = Counter()
        left = index - 1
        for stage in self.stages:
            rounds = min(stage.rounds, left)
            left -= rounds
            taken.update({name: rounds * count for name, count in _drawn(stage).items()})
        return taken


def _drawn(stage: Stage) -> dict[str | None, int]:
    """How many prompts a round of this stage draws, by suite."""
    return {} if stage.data is not None else dict([(None, stage.prompts), *stage.replay.items()])


DEFAULTS: Mapping[str, Any] = {
    "adapter": {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
    "stages": [
        {"generator": "reference", "updater": "sft", "prompts": 256},
        {"generator": "policy", "updater": "group", "prompts": 32, "n": 8, "rounds": 2},
    ],
}
"""A recipe for suites that bring none: learn the format from demonstrations, then from rewards."""


def apply_sets(values: dict[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """`key.sub.0.field=VALUE` onto nested dicts and lists. VALUE is TOML; what is not TOML is taken as a string."""
    for text in sets:
        key, equals, raw = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{text!r} is not KEY=VALUE", where="--set", remedy="Write e.g. --set seed=1.")
        _assign(values, key.strip().split("."), _value(raw.strip()), key)
    return values


def _value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _assign(node: Any, path: Sequence[str], value: Any, key: str) -> None:
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                remedy = f"It holds {len(node)} entries, counted from 0."
                raise ConfigError(f"{part!r} in {key!r} is not an entry of that list", where="--set", remedy=remedy)
            if last:
                node[int(part)] = value
            else:
                node = node[int(part)]
        elif isinstance(node, dict):
            if last:
                node[part] = value
            else:
                node = node.setdefault(part, {})
        else:
            raise ConfigError(
                f"{'.'.join(path[:depth])!r} in {key!r} is not a table", where="--set", remedy="Check the key."
            )


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key, everything else (lists too) is replaced by the later layer."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = result.get(key)
            both = isinstance(old, dict) and isinstance(value, Mapping)
            result[key] = merge(old or {}, value) if both else _copy(value)
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, (list, tuple)) else value
