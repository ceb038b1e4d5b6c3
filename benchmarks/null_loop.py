"""A loop that has nothing to learn from, on the real model: how often does the gate promote luck?

    python benchmarks/null_loop.py [--rounds 20] [--runs FOLDER] [--set KEY=VALUE ...]

One round of demonstrations makes an adapter. Every round after it samples from that adapter, rewards completions by the
toss of a coin, trains on that and is gated: the same adapter, retrained with other seeds and no signal. Resumes where
it was stopped. Prints a row a round, and the share that was promoted beside the gate's level.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import harness
from harness.cli.table import table
from harness.cli.tables import checks_of, score_cell
from harness.cli.view import View
from harness.measuring import round_report
from harness.plugins import Origin
from harness.records import read_decision
from harness.specs import JudgeSpec, NoConfig
from harness.store import RunStore
from harness.types import Group, Score

SUITE = """[suite]
name = "tool-calls-null"
version = "1"
role = "target"
summary = "The held-out items of tool-calls; training is rewarded by chance"
license = "Apache-2.0 (Berkeley Function-Calling Leaderboard)"
builder = "harness_suites.tool_calls.build:build"

[suite.options]
categories = ["simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance"]
train_limits = { multiple = 120, parallel = 96, parallel_multiple = 0, irrelevance = 112 }

[suite.sampling]
temperature = 0.0
max_tokens = 192

[[judges]]
name = "coin"
use = "train"

[[judges]]
name = "tool_call"
use = "eval"
config = { mode = "strict", credit = "exact" }
"""


class Coin:
    """Rewards that nothing about the answer explains. Gold answers are all right, so that the first round learns."""

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(self._toss(group, i) for i in range(len(group.completions))) for group in groups]

    def _toss(self, group: Group, index: int) -> Score:
        toss = hashlib.sha256(f"{group.prompt.id}/{index}/{group.policy_version}".encode()).digest()[0] % 2
        return Score("coin", 1.0 if len(group.completions) == 1 else float(toss))


class Plugin:
    @harness.hookimpl
    def harness_register_judges(self) -> list[JudgeSpec]:
        return [JudgeSpec("coin", "heads or tails", lambda config, context: Coin(), NoConfig)]


def settings(folder: Path, rounds: int) -> dict[str, object]:
    suite = folder / "tool-calls-null"
    suite.mkdir(parents=True, exist_ok=True)
    (suite / "suite.toml").write_text(SUITE)
    learn = {"epochs": 2, "batch": 4, "learning_rate": 1e-3, "lr_scheduler_type": "linear", "warmup_steps": 8}
    return {
        "suite": str(suite),
        "beside": ["general"],
        "eval": {"limit": 300},
        "monitors": {"enabled": False},  # they would end a loop whose rewards have nothing to do with what is right
        "stages": [
            {"generator": "reference", "updater": "sft", "prompts": 256, "replay": {"general": 48}, "config": learn},
            {
                "updater": "group",
                "rounds": rounds,
                "prompts": 24,
                "n": 4,
                "config": {"objective": "dapo", "learning_rate": 1e-4},
            },
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", dest="sets", action="append", default=[])
    options = parser.parse_args()
    registry = harness.load_registry()
    registry.add(Plugin(), Origin("null_loop", "benchmarks", "1"))
    view = View(quiet=False)
    plan = harness.plan_loop(
        settings(options.runs, options.rounds), sets=options.sets, registry=registry, progress=view
    )
    result = harness.run_loop(plan, runs=options.runs, run="null", resume=True, registry=registry, progress=view)
    store = RunStore.open(result.folder)
    rows, outcomes = [], []
    for index in range(2, store.committed() + 1):
        decision = store.load(index, "decision", read_decision)
        report = round_report(store, index)
        cells = [score_cell(suite.mean, checks_of(suite.suite, decision.checks)) for suite in report.suites]
        rows.append([str(index), str(decision.look), *cells, decision.outcome])
        outcomes.append(decision.outcome)
    print(table(["round", "look", *(s.suite for s in report.suites), "outcome"], rows))
    promoted = outcomes.count("promoted")
    print(f"{promoted} of {len(outcomes)} decisions promoted; a level of {plan.config.gate.alpha:.0%} allows", end=" ")
    print(
        f"{plan.config.gate.alpha * len(outcomes):.0f} in the mean. After the loop: {result.confirmation or 'nothing'}."
    )
    print(json.dumps({outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}))


if __name__ == "__main__":
    main()
