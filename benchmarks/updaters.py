"""Every updater on a real model, on the groups of one stored run: does it move what it should, and which way?

    python benchmarks/updaters.py RUN [--round N] [--groups N] [--json FILE] [UPDATER ...]

All train from the run's adapter on the same groups, those of the round whose rewards differ (`cpt` on the texts of the
prompts, reward models from the base). What is measured is computed apart from training, before and after it: the
log-probability of what is learnt, or how far good completions are ahead of bad ones, both in nats a token; of a reward
model the share of pairs that its judge puts in the right order.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from harness import assets
from harness.checkpoints import open_checkpoint
from harness.plugins import Registry, load_registry
from harness.protocols import RunContext, SilentProgress
from harness.records import read_groups
from harness.store import RunStore
from harness.training_data import file_groups, judged_rounds
from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.models.adapters import load_policy
from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup
from harness_plugins.models.shared_prefix import completion_logps

FAST = {"epochs": 4, "learning_rate": 2e-4}
LEARNT = {"epochs": 2, "learning_rate": 3e-4}


@dataclass(frozen=True)
class Case:
    """An updater, its settings, and what it should raise: `likelihood`, `margin` or `accuracy`."""

    updater: str
    raises: str
    config: Mapping[str, Any] = field(default_factory=dict)


CASES = (
    Case("cpt", "likelihood", {**LEARNT, "tokens_per_step": 1024}),
    Case("sft", "likelihood", LEARNT),
    Case("preference", "margin", {**FAST, "objective": "dpo"}),
    Case("unpaired", "margin", {**FAST, "objective": "kto"}),
    Case("group", "margin", {**FAST, "objective": "dapo"}),
    Case("reward_model", "accuracy", {**FAST, "epochs": 8}),
    Case("trl-sft", "likelihood", LEARNT),
    Case("trl-dpo", "margin", FAST),
    Case("trl-kto", "margin", {"epochs": 1, "learning_rate": 5e-4}),
    Case("trl-reward", "accuracy", {**FAST, "epochs": 2}),
    Case("trl-grpo", "margin", {"groups_per_step": 2, "learning_rate": 2e-4, "judges": [{"name": "tool_call"}]}),
)


@dataclass(frozen=True)
class Outcome:
    updater: str
    raises: str
    before: float
    after: float
    steps: int
    seconds: float


@dataclass(frozen=True)
class Bench:
    context: RunContext
    registry: Registry
    groups: Sequence[ScoredGroup]
    texts: Sequence[ScoredGroup]
    parent: AdapterCheckpoint

    def try_case(self, case: Case) -> Outcome:
        data = self.texts if case.updater == "cpt" else self.groups
        measure: Mapping[str, Callable[[Path | None], float]] = {
            "likelihood": lambda path: self.likelihood(path, data),
            "margin": self.margin,
            "accuracy": self.accuracy,
        }
        updater = self.registry.create("updater", case.updater, dict(case.config), self.context)
        with tempfile.TemporaryDirectory() as folder:
            out, started = Path(folder) / "out", time.monotonic()
            parent = None if case.raises == "accuracy" else self.parent
            update = updater.update(data, parent=parent, out=out, seed=0)
            seconds = time.monotonic() - started
            before, after = (measure[case.raises](path) for path in (None, update.checkpoint.path))
        return Outcome(case.updater, case.raises, before, after, int(update.metrics["update/steps"]), seconds)

    # ------------------------------------------------------------ what is measured

    def logps(self, path: Path | None, groups: Sequence[ScoredGroup]) -> list[list[float]]:
        """Mean log-probability per token of each completion, by the adapter at `path`, or by the run's for None."""
        model = load_policy(self.context.require_model().path, path or self.parent.path, "bfloat16")
        found = []
        for scored in groups:
            completions = tuple(TrainingCompletion(completion.token_ids) for completion in scored.group.completions)
            row = Row((TrainingGroup(scored.group.prompt_token_ids, completions),))
            with torch.no_grad():
                logps_N_T, mask_N_T = completion_logps(model, row)
            found.append((logps_N_T.sum(-1) / mask_N_T.sum(-1)).tolist())
        return found

    def likelihood(self, path: Path | None, groups: Sequence[ScoredGroup]) -> float:
        """Of the completions with a reward of 1."""
        pairs = zip(groups, self.logps(path, groups), strict=True)
        return fmean(logp for g, logps in pairs for logp, reward in zip(logps, g.rewards, strict=True) if reward == 1)

    def margin(self, path: Path | None) -> float:
        """Of the best completion of each group ahead of the worst."""
        pairs = zip(self.groups, self.logps(path, self.groups), strict=True)
        return fmean(logps[best] - logps[worst] for g, logps in pairs for best, worst in [extremes(g)])

    def accuracy(self, path: Path | None) -> float:
        """Of the judge on all pairs whose rewards differ; an untrained head is as good as a coin."""
        if path is None:
            return 0.5
        base = str(self.context.require_model().name)
        judge = self.registry.create("judge", "reward_model", {"path": str(path), "base": base}, self.context)
        right = []
        for scored, scores in zip(self.groups, judge.score([g.group for g in self.groups]), strict=True):
            for a, b in combinations(range(len(scores)), 2):
                if (truth := scored.rewards[a] - scored.rewards[b]) != 0:
                    right.append((scores[a].value - scores[b].value) * truth > 0)
        return fmean(right)


def extremes(scored: ScoredGroup) -> tuple[int, int]:
    known = [(reward, -i) for i, reward in enumerate(scored.rewards) if reward is not None]
    return -max(known)[1], -min(known)[1]


def open_bench(run: Path, rounds: Sequence[int], count: int) -> Bench:
    store = RunStore.open(run)
    (index,) = judged_rounds(store, rounds)
    registry, config = load_registry(), store.identity["config"]
    model = assets.model(config["model"], SilentProgress())
    context = RunContext(model=model, adapter=config["adapter"], components=registry)
    standing = store.incumbent_round(upto=index - 1)
    parent = store.load(standing, "update", lambda path: open_checkpoint(path, base=model.fingerprint))
    groups = [g for g in store.load(index, "judge", read_groups) if None not in g.rewards and len(set(g.rewards)) > 1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.jsonl"
        texts = ["\n".join(str(m["content"]) for m in g.group.prompt.messages) for g in groups[:count]]
        file.write_text("\n".join(json.dumps({"text": text}) for text in texts) + "\n")
        return Bench(context, registry, groups[:count], file_groups(file, context), parent)


def main() -> None:
    parser = argparse.ArgumentParser(description="Try every updater on a stored run.")
    parser.add_argument("run", type=Path)
    parser.add_argument("updater", nargs="*", help="only these; without any, all")
    parser.add_argument("--round", type=int, action="append", default=[], help="default: the last that was judged")
    parser.add_argument("--groups", type=int, default=16, help="how many of its groups are trained on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows there")
    options = parser.parse_intermixed_args()
    if unknown := sorted(set(options.updater) - {case.updater for case in CASES}):
        parser.error(f"unknown updater {', '.join(unknown)}")
    bench = open_bench(options.run, options.round, options.groups)
    rows = []
    for case in CASES:
        if not options.updater or case.updater in options.updater:
            rows.append(bench.try_case(case))
            print(rows[-1], file=sys.stderr)
    made = Table("updater", "should raise", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("before", "after", "steps", "seconds"):
        made.add_column(column, justify="right")
    for row in rows:
        figures = (f"{row.before:.3f}", f"{row.after:.3f}", str(row.steps), f"{row.seconds:.0f}")
        made.add_row(row.updater, row.raises, *figures)
    Console().print(made)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
