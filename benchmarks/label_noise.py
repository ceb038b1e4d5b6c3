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
from harness.cli.table import table
from harness.cli.view import View
from harness.config import EvalConfig
from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.mutations import MUTATIONS, mutate
from harness.data.record import Answer, Record
from harness.eval_plan import plan_evaluation
from harness.evaluating import run_evaluations
from harness.label_noise import noise_of, recommended
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


def estimates(pairs: list[tuple[Prompt, str]], noises: list[float], seed: int) -> list[list[str]]:
    """What the filter `label_consistency` makes of these pairs where each is labelled twice, each label flipped by
    itself."""
    registry = harness.load_registry()
    found = []
    for noise in noises:
        rng = random.Random(f"{seed}/{noise}")
        records = []
        for prompt, wrong in pairs:
            for _ in range(2):
                sides = [Answer(str(prompt.reference), 1.0), Answer(wrong, 0.0)]
                if rng.random() < noise:
                    sides = [Answer(wrong, 1.0), Answer(str(prompt.reference), 0.0)]
                records.append(Record(prompt, tuple(sides), "pair"))
        sieve = make_sieve([FilterUse(name="label_consistency")], registry, RunContext(components=registry))
        figures = sift(records, sieve).figures
        named = {name.partition("/")[2]: f"{value:.1%}" for name, value in figures.items()}
        cells = [named.get(name, "not told") for name in ("noise", "noise_lower", "noise_upper")]
        advice = recommended(noise_of(figures))
        found.append([f"{noise:.0%}", *cells, f"{advice.objective} {dict(advice.config) or ''}"])
    return found


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
    everything = known_pairs(list(suite.train), len(suite.train), options.seed)
    print(f"noise as estimated from {len(everything)} pairs, each labelled twice")
    columns = ["flipped", "estimate", "lower", "upper", "recommended"]
    print(table(columns, estimates(everything, options.noise, options.seed)))
    pairs = everything[: options.pairs]
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
