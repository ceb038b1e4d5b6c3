"""Preferences of which a known share is flipped, on the real model: how DPO, robust DPO, KTO and IPO fare.

    python benchmarks/label_noise.py --parent ADAPTER [--out FOLDER] [--learning-rate 5e-5] [--pairs 128] [--limit 120]

The pairs are right tool calls against the same made wrong (training prompts of `tool-calls`); of each share of the
labels the same pairs are flipped for every objective. ADAPTER is one that makes calls, such as that of round 1 of the
default loop. Each training starts from it; then all are evaluated in one engine start: on calls, and on
which of a right and a wrong call to held-out questions they find likelier. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import harness
from harness.api import find_suite
from harness.cli.tables import table
from harness.cli.view import View
from harness.config import EvalConfig
from harness.data.mutations import MUTATIONS, mutate
from harness.eval_plan import plan_evaluation
from harness.evaluating import run_evaluations
from harness.protocols import RunContext, Suite
from harness.summary import estimate_cells, figures_of
from harness.types import Prompt, SuiteReport

OBJECTIVES = ("dpo", "robust_dpo", "kto", "ipo")
SUITE = """[suite]
name = "held-out-pairs"
version = "1"
role = "monitor"
kind = "likelihood"
summary = "Which of a right call and a wrong one is likelier"
license = "Apache-2.0 (Berkeley Function-Calling Leaderboard)"
items = "items.jsonl"

[[judges]]
name = "choice"
config = { normalize = "tokens" }
"""


def known_pairs(prompts: list[Prompt], count: int, seed: int) -> list[tuple[Prompt, str]]:
    """`count` prompts with a wrong call each, of a kind drawn at random among those that apply."""
    rng = random.Random(seed)
    found = []
    for prompt in rng.sample(prompts, len(prompts)):
        wrong = [mutate(prompt, kind, rng) for kind in rng.sample(sorted(MUTATIONS), len(MUTATIONS))]
        if made := [text for text in wrong if text is not None]:
            found.append((prompt, made[0]))
    return found[:count]


def row(prompt: Prompt) -> dict[str, object]:
    tools = {"tools": json.loads(prompt.tools)} if prompt.tools else {}
    return {"id": prompt.id, "prompt": [dict(message) for message in prompt.messages]} | tools


def write_pairs(path: Path, pairs: list[tuple[Prompt, str]], noise: float, seed: int) -> None:
    """The same pairs are flipped at every share, and those of a smaller share are among those of a larger."""
    order = random.Random(f"{seed}/flips").sample(range(len(pairs)), len(pairs))
    flipped = set(order[: round(noise * len(pairs))])
    with path.open("w") as handle:
        for index, (prompt, wrong) in enumerate(pairs):
            sides = (prompt.reference, wrong) if index not in flipped else (wrong, prompt.reference)
            handle.write(json.dumps(row(prompt) | dict(zip(("chosen", "rejected"), sides, strict=True))) + "\n")


def write_suite(folder: Path, suite: Suite, seed: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "suite.toml").write_text(SUITE)
    with (folder / "items.jsonl").open("w") as handle:
        for prompt, wrong in known_pairs(list(suite.items), len(suite.items), seed):
            target = {"choices": [prompt.reference, wrong], "gold": 0}
            item = row(prompt) | {"target": target, "cluster": prompt.cluster}
            item["messages"] = item.pop("prompt")
            handle.write(json.dumps(item) + "\n")


def train(objective: str, noise: float, rate: float, data: Path, parent: Path, out: Path, view: View) -> None:
    settings = {"flip_rate": noise} if objective == "robust_dpo" else {}
    updater = "unpaired" if objective == "kto" else "preference"
    config = {"objective": objective, "objective_config": settings, "learning_rate": rate}
    harness.train_adapter(updater, data, out=out, parent=parent, config=config, progress=view)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parent", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("label-noise"))
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3])
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    view = View(quiet=False)
    registry = harness.load_registry()
    suite = find_suite("tool-calls", registry, RunContext(progress=view, components=registry))
    pairs = known_pairs(list(suite.train), options.pairs, options.seed)
    write_suite(options.out / "held-out-pairs", suite, options.seed)
    adapters = {("parent", 0.0): options.parent}
    for noise in options.noise:
        data = options.out / f"pairs-{noise:.0%}.jsonl"
        write_pairs(data, pairs, noise, options.seed)
        for objective in OBJECTIVES:
            out = options.out / f"{objective}-{noise:.0%}"
            if not out.exists() and not (objective == "robust_dpo" and noise == 0):  # that is dpo
                train(objective, noise, options.learning_rate, data, options.parent, out, view)
            adapters[objective, noise] = out if out.exists() else options.out / f"dpo-{noise:.0%}"
    plans = {
        options.out / "evals" / folder.name: plan_evaluation(
            ["tool-calls", str(options.out / "held-out-pairs")],
            adapter=folder,
            config=EvalConfig(limit=options.limit),
            registry=registry,
            progress=view,
        )
        for folder in dict.fromkeys(adapters.values())
    }
    done = run_evaluations(plans, resume=True, registry=registry, progress=view)
    reports = dict(zip(dict.fromkeys(adapters.values()), (one.evaluation.report for one in done), strict=True))
    rows = [
        [objective, f"{noise:.0%}", *(shown(suite) for suite in reports[folder].suites)]
        for (objective, noise), folder in adapters.items()
    ]
    print(table(["objective", "flipped", "tool-calls", "held-out pairs"], rows))


def shown(suite: SuiteReport) -> str:
    """Mean score with its 95% interval, clustered."""
    mean, interval, _ = estimate_cells(figures_of(suite.suite, suite.items).score)
    return f"{mean} {interval}"


if __name__ == "__main__":
    main()
