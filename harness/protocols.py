"""What each seat must do. Third parties implement these; nothing needs to be subclassed.

Tensors appear in type annotations only: the core does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

from harness.data.record import Flaw, Record
from harness.errors import ConfigError
from harness.types import (
    AdapterCheckpoint,
    Group,
    Preference,
    Prompt,
    Role,
    Sampling,
    Score,
    ScoredGroup,
    SuiteRule,
    Update,
)

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

SuiteKind = Literal["generate", "likelihood"]
"""What is judged: answers that the policy gives, or how likely it finds each item's reference or choices."""


# ---------------------------------------------------------------- what a component is given


class Progress(Protocol):
    """Where a component says how far it is. The terminal view is one; the default says nothing."""

    def track(self, items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]: ...

    def task(self, description: str, total: float | None = None) -> Any:
        """A context manager yielding `advance(amount=1, **figures)`; figures are shown beside the bar."""
        ...

    def note(self, text: str) -> None: ...


class SilentProgress:
    """A `Progress` for scripts and tests."""

    def track(self, items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:
        yield from items

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Any]:
        yield lambda amount=1, **figures: None

    def note(self, text: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model. `fingerprint` identifies weights, config and tokenizer; of one that a server holds, only its name there.

    `folder` is where it lies on this machine, None where a server holds it.
    """

    name: str
    folder: Path | None
    fingerprint: str

    @property
    def path(self) -> Path:
        """Its folder. Raises ConfigError for a model that a server holds."""
        if self.folder is None:
            raise ConfigError(
                "a server holds this model, and its weights or its tokenizer are needed here",
                where=f"model {self.name}",
                remedy="Choose a generator that samples a model on this machine, such as transformers.",
            )
        return self.folder


class Components(Protocol):
    """Makes components by name, for those that are built from others (an updater from an objective)."""

    def create(
        self, kind: str, name: str, config: Mapping[str, Any], context: RunContext, *, where: str = ""
    ) -> Any: ...

    def objective_family(self, name: str) -> str:
        """The kind of data that this objective reads."""
        ...

    def judge_families(self, name: str, config: Mapping[str, Any]) -> set[str]:
        """What this judge's verdicts come from."""
        ...


@dataclass(frozen=True)
class RunContext:
    """Handed to every `create(config, context)`. `model` is None where no policy model is in play."""

    model: ModelRef | None = None
    seed: int = 0
    adapter: Mapping[str, Any] = field(default_factory=dict)
    """The `[adapter]` table: a PEFT config (`peft_type` and its own fields), passed through unread."""
    progress: Progress = field(default_factory=SilentProgress)
    components: Components | None = None
    scratch: Path | None = None
    """Where an updater may keep what it needs to go on after a crash; emptied when the update is stored."""
    run: Path | None = None
    """Folder of the run that this is a part of. There is none outside a loop."""
    score: Callable[[AdapterCheckpoint | None], float] | None = None
    """Mean reward of a policy (None: the base) on prompts that are neither trained on nor held out for the gate.
    There is none outside a loop."""
    fresh_verdicts: bool = False
    """Judges are asked whether their verdicts still are what they were, so they may not answer from a cache."""

    def require_model(self) -> ModelRef:
        if self.model is None:
            raise ConfigError("this component needs a model", remedy="Name one with --model.")
        return self.model


# ---------------------------------------------------------------- the seats


GivenTexts = tuple[Sequence[int], Sequence[Sequence[int]]]
"""Token ids of what is read first, not empty, and of each of the texts that continue it."""


class Generator(Protocol):
    """Samples groups. Keeps its engine alive between calls; `close()` frees it."""

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        """One group of n completions a prompt, in order. Equal arguments and weights give equal samples."""
        ...

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None:
        """Serve this adapter from now on; None serves the base model."""
        ...

    def score_tokens(self, token_ids: Sequence[int]) -> tuple[float, ...] | None:
        """Log-probability (natural log, temperature 1) of each token but the first, by the policy now served.

        None from a generator that holds no weights.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class ScoringGenerator(Generator, Protocol):
    """A generator that scores many given texts in one call, faster than by `score_tokens` one after another."""

    def score_texts(self, given: Sequence[GivenTexts]) -> list[tuple[tuple[float, ...], ...]]:
        """For each prompt and each of its texts, in order, the log-probability of each of the text's tokens, as
        `score_tokens` has it up to rounding. Equal arguments and weights give equal values."""
        ...


class Judge(Protocol):
    """Scores whole groups, so that pointwise, pairwise and listwise judging all fit."""

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        """For each group one verdict per completion, in order. Must not change its input."""
        ...


@runtime_checkable
class ComparingJudge(Judge, Protocol):
    """A judge that compares completions, and can hand out its comparisons beside the scores it makes of them."""

    def compare(self, groups: Sequence[Group]) -> list[tuple[Preference, ...]]:
        """For each group what it prefers; ties and comparisons that failed are left out."""
        ...


@runtime_checkable
class ReportingJudge(Judge, Protocol):
    """A judge that says how it did: agreement, flips, what it paid."""

    def figures(self) -> Mapping[str, float]:
        """By name (`flip_rate`, `requests`), of everything since the judge was made."""
        ...


@dataclass(frozen=True)
class StepTotals:
    """Sizes of the whole optimizer step, over all its micro-batches: what a loss divides by.

    With these a loss is a sum that does not depend on how the step was cut into micro-batches.
    """

    sequences: int
    tokens: int
    """Completion tokens."""
    max_tokens: int
    """The sampling limit on completion tokens (Dr. GRPO's constant denominator)."""
    pairs: int = 0
    """Preference pairs."""
    desirable: int = 0
    """Completions marked good by themselves."""


@dataclass(frozen=True)
class SequenceBatch:
    """N completions of a step, padded to T tokens. Log-probs are natural logs at the sampling temperature."""

    logps_N_T: Tensor
    mask_N_T: Tensor
    """True on completion tokens that count."""
    totals: StepTotals
    advantages_N: Tensor | None = None
    old_logps_N_T: Tensor | None = None
    """By the policy that sampled; None means it is the policy being trained (the ratio is 1)."""
    ref_logps_N_T: Tensor | None = None
    pairs_M_2: Tensor | None = None
    """Indices (chosen, rejected) into the N completions, one row for each of the micro-batch's M pairs."""
    desirable_N: Tensor | None = None
    """True where a completion is good by itself, False where it is bad."""
    entropies_N_T: Tensor | None = None
    """Entropy in nats of the policy's distribution at each token, with gradient; only for an objective whose attribute
    `needs_entropy` is True."""
    rewards_N: Tensor | None = None
    """What a reward model gives each completion; the log-probs are then empty, [N, 0]."""
    baseline: float = 0.0
    """What an unpaired objective compares log-ratios with, in nats, taken over the whole step before any gradient."""


@dataclass(frozen=True)
class LossOutput:
    """`loss` is a scalar, this micro-batch's share of the step's; `metrics` are shares as well, and are summed."""

    loss: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """A loss: tensors in, loss and metrics out, nothing else."""

    def __call__(self, batch: SequenceBatch) -> LossOutput: ...


class Updater(Protocol):
    """Turns scored groups into a new adapter."""

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        """Train from `parent` (None: a fresh adapter) and write the result into the empty folder `out`."""
        ...


class Exporter(Protocol):
    """Writes an adapter in a form that others load. The model that it belongs to is in the context."""

    def export(self, checkpoint: AdapterCheckpoint, out: Path) -> None:
        """Fill the empty folder `out`. The model card (`README.md`) and `lineage.json` are added to it afterwards."""
        ...


class Filter(Protocol):
    """Looks at records one by one, in several processes at once: what it says of one may not depend on others."""

    def check(self, record: Record) -> Sequence[Flaw]:
        """What it has against the record; empty to keep it. Must not change its input."""
        ...


@runtime_checkable
class SurveyingFilter(Protocol):
    """A filter that must have seen all records before it can say anything of one: duplicates, balance, outliers."""

    def sketch(self, record: Record) -> bytes:
        """What it needs of a record, a few hundred bytes at most. Called in several processes at once."""
        ...

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        """By index, what it has against records, from the sketches of all of them in order. Called once. `sketches` may
        lie on disk: read it in order, or by index."""
        ...


@runtime_checkable
class BatchSketching(SurveyingFilter, Protocol):
    """A surveying filter that would rather sketch many records at once, as models do."""

    def sketches(self, records: Sequence[Record]) -> Sequence[bytes]:
        """`sketch` of each, in order."""
        ...


@runtime_checkable
class ReportingFilter(Protocol):
    """A surveying filter that says what it saw of the whole: an estimate of noise, how many clusters there are."""

    def figures(self) -> Mapping[str, float]:
        """By name, after `survey`."""
        ...


@dataclass(frozen=True)
class JudgeUse:
    """A judge within a suite: its settings, its weight in the reward, and what it is for."""

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    use: str = "both"
    """`train`, `eval`, `both`, or `gold`: neither in the reward nor in the gate, but what the monitors hold the judges
    that are trained against to."""


@dataclass(frozen=True)
class Suite:
    """Prompts, judges, a role, and the margins that its size can support."""

    name: str
    version: str
    role: Role
    items: tuple[Prompt, ...]
    """Held out: never trained on."""
    judges: tuple[JudgeUse, ...]
    train: tuple[Prompt, ...] = ()
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0))
    summary: str = ""
    license: str = ""
    margin: float = 0.05
    anchor_margin: float = 0.075
    floor: float | None = None
    rule: SuiteRule = "mean"
    kind: SuiteKind = "generate"
    pair: str | None = None
    """The suite that must be evaluated beside this one: what answers every item of one well fails the other."""
    degenerate_bound: float = 0.3
    """What no policy that ignores its input may reach here, or else in the paired suite."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Loop settings that suit this suite; a config file and flags override them."""
