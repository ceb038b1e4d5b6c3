"""Judges that say what they are told to, for those that are made of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.hookspecs import hookimpl
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import Judge, RunContext
from harness.specs import Config, JudgeSpec
from harness.types import Completion, Group, Prompt, Sampling, Score


class TellingConfig(Config):
    says: dict[str, float | str]
    """By the text of the completion: a value, or a status."""
    paid: float = 0.0
    model: str = ""


class Telling:
    """Keeps the groups that it was shown."""

    def __init__(self, name: str, config: TellingConfig) -> None:
        self.name, self.config = name, config
        self.shown: list[Group] = []
        self.closed = False

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        self.shown += groups
        return [tuple(self._score(c.text) for c in group.completions) for group in groups]

    def figures(self) -> dict[str, float]:
        return {"requests": float(sum(len(group.completions) for group in self.shown))}

    def close(self) -> None:
        self.closed = True

    def _score(self, text: str) -> Score:
        said, paid = self.config.says[text], self.config.paid
        raw = f"{self.name} on {text}" if paid else ""
        fields: dict[str, Any] = {"cost": paid, "tokens": int(10 * paid), "latency": 2 * paid, "raw": raw}
        if isinstance(said, str):
            return Score(self.name, None, said, explanation="told so", **fields)  # type: ignore[arg-type]
        return Score(self.name, said, **fields)


class Telltales:
    """A plugin of four such judges: `alpha` and `beta` are rules, `gamma` and `delta` are not."""

    @hookimpl
    def harness_register_judges(self) -> list[JudgeSpec]:
        return [
            JudgeSpec(name, "Says what it is told", _telling(name), TellingConfig, deterministic=rule, family=_model)
            for name, rule in (("alpha", True), ("beta", True), ("gamma", False), ("delta", False))
        ]


def _model(config: TellingConfig) -> str | None:
    return config.model or None


def _telling(name: str) -> Any:
    return lambda config, context: Telling(name, config)


def telling_registry() -> Registry:
    registry = load_registry()
    registry.add(Telltales(), Origin("test", "test", "0"))
    return registry


def make(judge_name: str, /, **config: Any) -> Any:
    registry = telling_registry()
    judge: Judge = registry.create("judge", judge_name, config, RunContext(components=registry))
    return judge


def told(name: str, says: Mapping[str, float | str], **fields: Any) -> dict[str, Any]:
    """A seat for one of them."""
    config = {key: fields.pop(key) for key in ("paid", "model") if key in fields}
    return {"name": name, "config": {"says": dict(says), **config}, **fields}


def group_of(*texts: str, id: str = "p") -> Group:
    completions = tuple(Completion(text, (number,)) for number, text in enumerate(texts))
    sampling = Sampling(temperature=0.7)
    return Group(Prompt(id, ({"role": "user", "content": id},)), (1, 2), completions, "v1", sampling, "g")
