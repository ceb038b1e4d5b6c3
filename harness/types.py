"""The records that flow through a round, in the order in which they come to be.

    Prompt -> Group[Completion] -> ScoredGroup -> Update(AdapterCheckpoint) -> EvalReport -> GateDecision

All are frozen. Token ids are the truth and text is derived from them: nothing is ever tokenized a second time
for training. `None` means "not known"; it never means zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FinishReason = Literal["stop", "length"]
ScoreStatus = Literal["scored", "abstained", "failed"]
Role = Literal["target", "regression", "guard", "monitor"]
SuiteRule = Literal["mean", "no_new_failures"]
"""What the gate holds a guard or regression suite to: its mean, or every item that passed before."""
CheckpointKind = Literal["policy", "reward_model"]
Outcome = Literal["promoted", "rejected", "inconclusive", "invalid"]

BASE_POLICY = "base"
"""Policy version of a model that serves no adapter."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


# ---------------------------------------------------------------- prompts and completions


@dataclass(frozen=True, slots=True)
class Prompt:
    """One task item.

    `messages` is a chat (`{"role", "content"}` dicts). `tools` is a JSON array of
    `{"name", "description", "parameters": JSON Schema}` as a string, "" for none: a string, because nested
    records of unequal shape are filled with nulls by columnar formats. `target` is whatever the suite's judges
    check against, as JSON; `reference` is a gold answer in text. `schema` is a JSON Schema that the answer
    must satisfy. `cluster` groups items that are not independent (same function, same passage).
    """

    id: str
    messages: tuple[Mapping[str, Any], ...]
    tools: str = ""
    target: str = ""
    reference: str | None = None
    schema: str = ""
    cluster: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Identity of the content: two runs compare an item only if this is equal."""
        return digest([list(map(dict, self.messages)), self.tools, self.target, self.reference, self.schema])[:16]

    @property
    def question(self) -> str:
        """Identity of what is asked, whatever answer is expected: a question must not be on both sides of a split.

        Tools are compared as values: their text may come from a suite or from another's file. Where nothing is asked
        it is raw text that must not be on both sides: what the target puts before the answer, else the reference.
        """
        tools = [{"description": "", "parameters": {}, **tool} for tool in json.loads(self.tools or "[]")]
        return digest([list(map(dict, self.messages)), tools, *([] if self.messages else [self._raw])])[:16]

    @property
    def _raw(self) -> Any:
        target = json.loads(self.target or "{}")
        if not isinstance(target, dict) or "context" not in target:
            return self.reference
        return {key: value for key, value in target.items() if key != "gold"}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn. `temperature=0` is greedy. `max_tokens` counts completion tokens.

    Groups meant for reinforcement learning need `top_p=1, top_k=0, min_p=0`: with truncated sampling the
    recorded log-probabilities are not those of the policy and the importance ratio is biased. `constrained`
    holds the answer to `Prompt.schema`, or to the calls that `Prompt.tools` allows.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 256
    constrained: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer, sampled or given. `token_ids` ends with the end-of-turn token when `finish_reason == "stop"`.

    `logprobs`: natural log, one per token, of the policy at the temperature it was sampled with; None where
    there is no sampler (gold answers). `text` is decoded without special tokens.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True, slots=True)
class Group:
    """The n completions of one prompt by one policy."""

    prompt: Prompt
    prompt_token_ids: tuple[int, ...]
    completions: tuple[Completion, ...]
    policy_version: str
    sampling: Sampling
    generator: str = ""


# ---------------------------------------------------------------- verdicts


@dataclass(frozen=True, slots=True)
class Score:
    """One judge's verdict on one completion.

    `value` is in [0, 1] when `status == "scored"` and None otherwise: unscored is not zero. A model's own
    failure (unparsable, truncated) is a real 0; a judge that could not do its work has *failed*; a judge to which
    the item means nothing has *abstained*. `label` names the kind of outcome (`value_error`, `ok`, ...).
    """

    judge: str
    value: float | None
    status: ScoreStatus = "scored"
    label: str = ""
    explanation: str = ""
    cost: float = 0.0
    """What it cost, in the currency of the judge's price settings, whenever it was paid."""
    raw: str = ""
    """What a model that judges replied, word for word."""
    tokens: int = 0
    """Read and written by a model that judges."""
    latency: float = 0.0
    """Seconds from question to reply."""

    def __post_init__(self) -> None:
        if (self.status == "scored") != (self.value is not None):
            raise ValueError(f"judge {self.judge}: status {self.status!r} with value {self.value!r}")
        if self.value is not None and not 0.0 <= self.value <= 1.0:
            raise ValueError(f"judge {self.judge}: value {self.value!r} is outside [0, 1]")

    @classmethod
    def abstained(cls, judge: str, why: str = "") -> Score:
        return cls(judge, None, "abstained", explanation=why)

    @classmethod
    def failed(cls, judge: str, why: str) -> Score:
        return cls(judge, None, "failed", explanation=why)


@dataclass(frozen=True, slots=True)
class Preference:
    """One judge's verdict that of two completions of a group one is better. `strength` is in (0, 1]."""

    judge: str
    better: int
    worse: int
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.better == self.worse or not 0.0 < self.strength <= 1.0:
            raise ValueError(
                f"judge {self.judge}: {self.better} over {self.worse} with a strength of {self.strength!r}"
            )


@dataclass(frozen=True, slots=True)
class KnownPair:
    """Two answers of which it is known that one is better: what judges are tried on. `kind` is what the other lacks."""

    prompt: Prompt
    better: str
    worse: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with every judge's verdicts and the reward that training sees.

    `scores[g]` holds the verdicts on completion g, one a judge; `rewards[g]` is the weighted mean of those that
    count for training, or None where none of them is scored. `preferences` are the verdicts of judges that compare.
    """

    group: Group
    scores: tuple[tuple[Score, ...], ...]
    rewards: tuple[float | None, ...]
    preferences: tuple[Preference, ...] = ()


# ---------------------------------------------------------------- updates


@dataclass(frozen=True, slots=True)
class Probe:
    """A sequence and what a policy should think of it: proof that a sampler serves that policy.

    `logprobs[i]` is the log-probability (natural log, temperature 1) of `token_ids[i + 1]` given what precedes it.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AdapterCheckpoint:
    """A trained adapter on disk (`adapter_config.json` and safetensors). `version` is the sha256 of its weights."""

    path: Path
    version: str
    base: str
    """Fingerprint of the model that it belongs to."""
    probe: Probe | None = None
    quantization: str = ""
    """How the base was held while this was trained ("nf4"): served on any other it would be another policy."""
    kind: CheckpointKind = "policy"


@dataclass(frozen=True, slots=True)
class Update:
    """What an updater made. Metric names are paths: `update/loss`, `update/groups_without_signal`."""

    checkpoint: AdapterCheckpoint
    metrics: Mapping[str, float]


# ---------------------------------------------------------------- evaluation and decision


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item of a suite: its score (mean over epochs; None if unscored) and how it came about."""

    id: str
    hash: str
    cluster: str
    score: float | None
    labels: tuple[str, ...] = ()
    slice: str = ""
    epochs: tuple[float | None, ...] = ()
    """The score of each completion."""


@dataclass(frozen=True, slots=True)
class SuiteReport:
    """One suite under one policy. `fingerprint` covers items, judges and decoding: reports compare only if equal."""

    suite: str
    role: Role
    fingerprint: str
    items: tuple[ItemResult, ...]
    margin: float = 0.05
    anchor_margin: float = 0.075
    floor: float | None = None
    rule: SuiteRule = "mean"
    pair: str | None = None
    judging: Mapping[str, float] = field(default_factory=dict)
    """How the judges did: `judge/NAME/failed`, and what they report of themselves (`judge/NAME/flip_rate`)."""

    @property
    def scored(self) -> tuple[ItemResult, ...]:
        return tuple(item for item in self.items if item.score is not None)

    @property
    def mean(self) -> float | None:
        """Mean score of the scored items, None if there are none."""
        values = [item.score for item in self.items if item.score is not None]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True, slots=True)
class EvalReport:
    """All suites under one policy."""

    policy_version: str
    suites: tuple[SuiteReport, ...]

    def suite(self, name: str) -> SuiteReport | None:
        return next((report for report in self.suites if report.suite == name), None)


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate: a difference of mean scores with its bounds, and the `threshold` it must pass."""

    name: str
    passed: bool
    refuted: bool
    """True when the evidence says the condition is false, not merely that it is not shown."""
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    threshold: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Promote, reject, or say that the evidence does not decide. `sentence` is for people, `checks` for engineers."""

    outcome: Outcome
    sentence: str
    checks: tuple[Check, ...] = ()
    look: int = 1
    """1, or 2 where the first part of the items did not decide and the rest were evaluated too."""

    @property
    def promoted(self) -> bool:
        return self.outcome == "promoted"
