"""A loop on dirty demonstrations, with and without a data stage, on the real model: what the gate says of each.

    python benchmarks/dirty_loop.py [--runs FOLDER] [--clean 160] [--dirty 160] [--limit 200]

One round of supervised fine-tuning from the bare model. The file has `--clean` right tool calls and 48 short questions
of `general`, and `--dirty` rows of seven sorts that cleaning is for. Both loops read the very same file; the second has
a `[data]` table. Resumes where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import harness
from harness.api import find_suite
from harness.cli.table import table
from harness.cli.tables import checks_of, score_cell
from harness.cli.view import View
from harness.measuring import round_report
from harness.protocols import RunContext
from harness.records import read_decision, read_groups
from harness.store import RunStore
from harness.types import Prompt

FILTERS = ("format", "spam", "boilerplate", "exact_duplicates", "near_duplicates")
LEARN = {"epochs": 2, "batch": 4, "learning_rate": 1e-3, "lr_scheduler_type": "linear", "warmup_steps": 8}


def unclosed(right: str, rng: random.Random) -> str:
    return right[: rng.randrange(len(right) // 2, len(right) - 1)]


def single_quotes(right: str, rng: random.Random) -> str:
    return right.replace('"', "'")


def unknown_tool(right: str, rng: random.Random) -> str:
    calls = json.loads(right)
    return json.dumps([{**call, "name": f"{call['name']}_v{rng.randrange(2, 9)}"} for call in calls])


def lost_arguments(right: str, rng: random.Random) -> str:
    return json.dumps([{**call, "arguments": {}} for call in json.loads(right)])


def apology(right: str, rng: random.Random) -> str:
    return "As an AI language model, I do not have access to functions, so I cannot do this for you."


def advertisement(right: str, rng: random.Random) -> str:
    shop = f"http://best-deals-{rng.randrange(1000)}.example/win"
    return f"CONGRATULATIONS!!! Click here {shop} to claim your FREE $$$ prize NOW!!! Buy now, limited offer!!! {shop}"


def same(right: str, rng: random.Random) -> str:
    return right


DIRT: tuple[Callable[[str, random.Random], str], ...] = (
    *(unclosed, single_quotes, unknown_tool, lost_arguments, apology, advertisement),
    same,
)


def row(prompt: Prompt, answer: str) -> dict[str, object]:
    tools = {"tools": json.loads(prompt.tools)} if prompt.tools else {}
    return {"prompt": [dict(message) for message in prompt.messages], "completion": answer} | tools


def write_rows(path: Path, clean: int, dirty: int, seed: int) -> Counter[str]:
    """`same` is a row that is there already."""
    registry = harness.load_registry()
    context = RunContext(components=registry, progress=View(quiet=False))
    rng = random.Random(seed)
    calls = [p for p in find_suite("tool-calls", registry, context).train if p.reference and p.reference != "[]"]
    chosen = rng.sample(calls, clean + dirty)
    rows = [row(prompt, str(prompt.reference)) for prompt in chosen[:clean]]
    rows += [row(p, str(p.reference)) for p in rng.sample(find_suite("general", registry, context).train, 48)]
    sorts: Counter[str] = Counter()
    for index, prompt in enumerate(chosen[clean:]):
        spoil = DIRT[index % len(DIRT)]
        source = rng.choice(chosen[:clean]) if spoil is same else prompt
        rows.append(row(source, spoil(str(source.reference), rng)))
        sorts[spoil.__name__] += 1
    path.write_text("".join(json.dumps(one) + "\n" for one in rng.sample(rows, len(rows))))
    return sorts


def settings(data: Path, limit: int, *, filtered: bool) -> dict[str, object]:
    config: dict[str, object] = {
        "suite": "tool-calls",
        "beside": ["general"],
        "eval": {"limit": limit},
        "stages": [{"data": str(data.resolve()), "updater": "sft", "config": LEARN}],
    }
    return config | ({"data": {"filters": [{"name": name} for name in FILTERS]}} if filtered else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--clean", type=int, default=160)
    parser.add_argument("--dirty", type=int, default=160)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    data = options.runs / "dirty.jsonl"
    sorts = write_rows(data, options.clean, options.dirty, options.seed)
    print(f"{options.clean} clean calls, 48 questions of general, dirt: {dict(sorts)}")
    rows = []
    for filtered in (False, True):
        name = "dirty-cleaned" if filtered else "dirty"
        result = harness.run_loop(
            harness.plan_loop(settings(data, options.limit, filtered=filtered), progress=View(quiet=False)),
            runs=options.runs,
            run=name,
            resume=True,
            progress=View(quiet=False),
        )
        store = RunStore.open(result.folder)
        decision = store.load(1, "decision", read_decision)
        cells = [score_cell(s.mean, checks_of(s.suite, decision.checks)) for s in round_report(store, 1).suites]
        trained = len(store.load(1, "judge", read_groups))
        dropped = int(store.entries[1, "data"].data["data/dropped"]) if filtered else 0
        rows.append([name, str(trained - dropped), *cells, decision.outcome])
    print(table(["run", "rows trained on", "tool-calls", "general", "gate"], rows))


if __name__ == "__main__":
    main()
