"""Taking a round's monitors: what has to be judged, sampled and scored for them, and no more of it than asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import chat
from harness.canaries import canary_pairs
from harness.config import LoopConfig, Stage
from harness.independence import gold_uses, is_deterministic, is_trained_on_gold_alone, uses_for, waits
from harness.judging import Bench, seat_judges, verdict_figures
from harness.monitors import (
    CanaryFigures,
    Gap,
    MonitorReport,
    alarms,
    canary_figures,
    drift,
    judge_gap,
    kl_per_token,
    pair_up,
    win_rates,
)
from harness.plugins import Registry
from harness.protocols import JudgeUse, RunContext, Suite
from harness.records import read_groups, read_monitors, write_groups, write_json
from harness.sampler import Sampler, draw_groups
from harness.statistics import Interval
from harness.store import RunStore
from harness.text_figures import text_figures
from harness.types import AdapterCheckpoint, Completion, Group, Prompt, Sampling, ScoredGroup

KL_COMPLETIONS = 16
"""Completions that the distance to the anchor is taken from, where the settings do not say."""

Answers = Sequence[ScoredGroup]


@dataclass(frozen=True)
class Watch:
    """The monitors of one run, over the held-out items of its target."""

    suite: Suite
    config: LoopConfig
    store: RunStore
    registry: Registry
    context: RunContext
    sampler: Sampler

    def round(
        self, index: int, stage: Stage, candidate: AdapterCheckpoint, before: Answers, after: Answers
    ) -> MonitorReport:
        """Takes the monitors of round `index`, stored. `before` and `after` are the incumbent's and the candidate's
        answers, as they were evaluated."""

        def make(path: Path) -> Mapping[str, Any]:
            path.mkdir()
            report = MonitorReport(text_figures(after), text_figures(before), kl_per_token=self._kl(stage, candidate))
            if self._judges_differ(stage):
                pairs = pair_up(before, after)
                gap, canaries, rates = self._judged_by_train(path, stage, pairs, after)
                report = replace(report, gap=gap, win_rates=rates, canaries=canaries, drift=self._drift(path))
            write_json(path / "monitors.json", replace(report, alarms=alarms(report, self.config.monitors)))
            return report.figures() | _paid(path)

        return self.store.step(index, "monitors", "monitors", make=make, read=read_watched)

    def _judges_differ(self, stage: Stage) -> bool:
        """Whether a round of this stage trains against anything but what it is held against, and can ask it now."""
        if stage.data is not None or any(waits(use, self.registry) for use in uses_for(self.suite, "train")):
            return False
        return not is_trained_on_gold_alone(self.suite, self.registry)

    # ------------------------------------------------------------ judged by the training judges

    def _judged_by_train(
        self, path: Path, stage: Stage, pairs: Sequence[ScoredGroup], after: Answers
    ) -> tuple[Gap | None, CanaryFigures | None, dict[str, Interval]]:
        """The gap, the canaries, and the win rates. What was judged is kept in `path`."""
        monitors, weights = self.config.monitors, stage.reward_weights
        bench = self._bench(uses_for(self.suite, "train"), "train", weights=weights)
        trained = judge_pairs(bench, [pair.group for pair in pairs])
        write_groups(path / "train.parquet", trained)
        canaries = None
        if monitors.canary_prompts:
            groups, kinds = canary_pairs([scored.group for scored in after[: monitors.canary_prompts]], self._encode)
            judged = judge_pairs(bench, groups)
            write_groups(path / "canaries.parquet", judged)
            canaries = canary_figures(judged, kinds, bench.weights)
        bench.close()
        gold, gold_weights = self._judged_by_gold(path, pairs)
        gap = judge_gap(
            trained, gold, train_weights=bench.weights, gold_weights=gold_weights, alpha=self.config.gate.alpha
        )
        by_purpose = {"train": trained, "eval": pairs, "gold": gold if gold is not pairs else []}
        rates = {
            f"{purpose}/{judge}": rate
            for purpose, judged in by_purpose.items()
            for judge, rate in win_rates(judged, self.config.gate.alpha).items()
        }
        return gap, canaries, rates

    def _judged_by_gold(
        self, path: Path, pairs: Sequence[ScoredGroup]
    ) -> tuple[Sequence[ScoredGroup], Mapping[str, float]]:
        """The pairs by the gold judges; where there are none, as the independent judges of the evaluation saw them."""
        if not (uses := uses_for(self.suite, "gold")):
            return pairs, {use.name: use.weight for use in gold_uses(self.suite, self.registry)}
        bench = self._bench(uses, "gold")
        judged = judge_pairs(bench, [pair.group for pair in pairs])
        bench.close()
        write_groups(path / "gold.parquet", judged)
        return judged, bench.weights

    def _bench(
        self,
        uses: Sequence[JudgeUse],
        purpose: str,
        *,
        weights: Mapping[str, float] | None = None,
        anew: bool = False,
    ) -> Bench:
        context = replace(self.context, fresh_verdicts=anew)
        suite = replace(self.suite, judges=tuple(uses))
        bench = seat_judges(suite, purpose, self.registry, context, weights=weights, limits=self.config.judging)
        return replace(bench, comparing=())  # scores are all that is looked at

    # ------------------------------------------------------------ drift

    def freeze(self, start: Callable[[], Answers]) -> None:
        """Before the first round: verdicts on answers of the starting point, which every later round must still get."""

        def make(path: Path) -> Mapping[str, Any]:
            path.mkdir()
            groups = frozen_pairs(start(), self.config.monitors.drift_prompts, self._encode)
            for purpose, uses in self._frozen_uses().items():
                write_groups(path / f"{purpose}.parquet", self._judged_anew(uses, purpose, groups))
            return _paid(path)

        if self._frozen_uses():
            self.store.step(0, "frozen", "frozen", make=make, read=lambda path: path)

    def _judged_anew(self, uses: Sequence[JudgeUse], purpose: str, groups: Sequence[Group]) -> list[ScoredGroup]:
        bench = self._bench(uses, purpose, anew=True)
        judged = bench.score(groups)
        bench.close()
        return judged

    def _drift(self, path: Path) -> dict[str, float]:
        if not self._frozen_uses():
            return {}
        frozen = self.store.load(0, "frozen", lambda folder: folder)
        found: dict[str, float] = {}
        for purpose, uses in self._frozen_uses().items():
            start = read_groups(frozen / f"{purpose}.parquet")
            now = self._judged_anew(uses, purpose, [scored.group for scored in start])
            write_groups(path / f"frozen-{purpose}.parquet", now)
            found |= {f"{purpose}/{judge}": share for judge, share in drift(start, now).items()}
        return found

    def _frozen_uses(self) -> dict[str, list[JudgeUse]]:
        """The judges whose verdicts could change, each once, by purpose."""
        if not self.config.monitors.drift_prompts or not any(map(self._judges_differ, self.config.stages)):
            return {}
        changing = [use for use in self.suite.judges if not is_deterministic(use, self.registry)]
        purposes = {"train": ("train", "both"), "eval": ("eval",), "gold": ("gold",)}
        found = {purpose: [use for use in changing if use.use in uses] for purpose, uses in purposes.items()}
        return {purpose: uses for purpose, uses in found.items() if uses}

    # ------------------------------------------------------------ distance to the anchor

    def _kl(self, stage: Stage, candidate: AdapterCheckpoint) -> float | None:
        """From completions that the candidate samples at temperature 1, where log-probs are the policy's own. None
        where none are asked for, or where the generator gives no log-probs."""
        asked = self.config.monitors.kl_prompts
        count = asked if asked is not None else KL_COMPLETIONS if self._judges_differ(stage) else 0
        if not count:
            return None
        sampling = Sampling(temperature=1.0, max_tokens=self.suite.sampling.max_tokens)
        prompts = self.suite.items[:count]
        drawn = draw_groups(self.sampler.at(candidate), prompts, n=1, sampling=sampling, seed=self.config.seed)
        anchor, policy_logps, anchor_logps = self.sampler.at(None), [], []
        for group in drawn:
            [completion] = group.completions
            scored = anchor.score_tokens([*group.prompt_token_ids, *completion.token_ids])
            if completion.logprobs is None or scored is None:
                return None
            policy_logps.append(completion.logprobs)
            anchor_logps.append(scored[len(group.prompt_token_ids) - 1 :])
        return kl_per_token(policy_logps, anchor_logps)

    @cached_property
    def _encode(self) -> Callable[[str], Sequence[int]]:
        tokenizer = chat.load_tokenizer(self.context.require_model().path)
        return lambda text: chat.encode_completion(tokenizer, text)


def frozen_pairs(start: Answers, count: int, encode: Callable[[str], Sequence[int]]) -> list[Group]:
    """For each of the first `count` items a pair of the starting point's answer and the item's reference, or, where it
    has none, the answer to the next item."""
    groups = [scored.group for scored in start]
    return [
        replace(group, completions=(group.completions[0], _reference(group.prompt, encode) or other.completions[0]))
        for group, other in list(zip(groups, [*groups[1:], groups[0]], strict=True))[:count]
    ]


def _reference(prompt: Prompt, encode: Callable[[str], Sequence[int]]) -> Completion | None:
    return None if prompt.reference is None else Completion(prompt.reference, tuple(encode(prompt.reference)))


def judge_pairs(bench: Bench, pairs: Sequence[Group]) -> list[ScoredGroup]:
    """Every second pair is shown in the other order, so that a judge with a favourite place favours neither side."""
    shown = [_turned(pair) if index % 2 else pair for index, pair in enumerate(pairs)]
    judged = bench.score(shown)
    return [
        replace(scored, group=pair, scores=scored.scores[::-1] if index % 2 else scored.scores, rewards=(None, None))
        for index, (pair, scored) in enumerate(zip(pairs, judged, strict=True))
    ]


def _turned(pair: Group) -> Group:
    return replace(pair, completions=pair.completions[::-1])


def _paid(path: Path) -> dict[str, float]:
    """What the judges of the monitors cost: `monitor/judge/NAME/cost` and `tokens`."""
    judged = [scored for file in sorted(path.glob("*.parquet")) for scored in read_groups(file)]
    paid = {key: value for key, value in verdict_figures(judged).items() if key.endswith(("/cost", "/tokens"))}
    return {f"monitor/{key}": value for key, value in paid.items()}


def read_watched(path: Path) -> MonitorReport:
    return read_monitors(path / "monitors.json")
