"""What is not the model's time: starting up, the loop around sampling and training, memory, and the length of a run.

    python benchmarks/overhead.py [--run FOLDER] [--repeats 10] [--rounds 50] [--json PATH]

Start-up is of whole processes. The loop samples from a script and trains nothing, so that all of its seconds are ours:
the default round on `tool-calls` beside `general`, 48 prompts x 8, with an adapter of the default one's size, which is
written, sealed, hashed and read as any is. `--run` is a run of the real model whose journal says what a round takes.
Memory is of this process after every fifth round of a small loop. Journals of 10, 100 and 1,000 rounds are written with
the lines that a real round leaves.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from side_by_side import alternating, seconds, write_json

import harness
from harness.checkpoints import seal_checkpoint
from harness.cli.table import table
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import RunContext
from harness.specs import NoConfig, UpdaterSpec
from harness.store import RunStore
from harness.types import AdapterCheckpoint, ScoredGroup, Update

PARAMETERS = 4_884_480
"""Of the default adapter (LoRA, r = 16, all linear layers) of the 135M model."""
LETTERS = """[suite]
name = "letters"
version = "1"
role = "target"
summary = "Say the letter"
license = "none"
items = "items.jsonl"
train = "train.jsonl"
margin = 0.2
anchor_margin = 0.3

[suite.sampling]
temperature = 0.0
max_tokens = 6

[[judges]]
name = "exact"
"""
ROUND = ("sample", "judge", "update", "evaluate", "decision")


# ---------------------------------------------------------------- start-up


def start_up(repeats: int) -> list[dict[str, Any]]:
    """Milliseconds of each command, by the clock and of the processor: the first grow where others use the machine."""

    def call(*arguments: str, **variables: str) -> Callable[[], float]:
        command, environment = [sys.executable, *arguments], {**os.environ, **variables}

        def timed() -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

        return timed

    run = "from harness.cli import main; main()"
    completion = {"_HARNESS_COMPLETE": "bash_complete", "COMP_WORDS": "harness ev", "COMP_CWORD": "1"}
    sides = {
        "python -c pass": call("-c", "pass"),
        "harness --help": call("-c", run, "--help"),
        "harness data --help": call("-c", run, "data", "--help"),
        "tab completion": call("-c", run, **completion),
        "harness plugins": call("-c", run, "plugins"),
    }
    return [
        {"what": name, "ms": 1e3 * seconds(turns), "processor_ms": 1e3 * median(turn.result for turn in turns)}
        for name, turns in alternating(sides, repeats).items()
    ]


# ---------------------------------------------------------------- the loop


class IdleUpdater:
    """Trains nothing and leaves an adapter of `size` random numbers, another one every round."""

    def __init__(self, size: int, context: RunContext) -> None:
        self.size, self.context = size, context

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from safetensors.numpy import save_file

        weights = np.random.default_rng(seed).standard_normal(self.size, dtype=np.float32)
        save_file({"weights": weights}, out / "adapter_model.safetensors")
        (out / "adapter_config.json").write_text("{}")
        base = self.context.require_model().fingerprint
        return Update(seal_checkpoint(out, base=base, probe=None), {"update/groups": float(len(groups))})


class Observer:
    """The updater as a plugin, and the seconds and the memory of every round."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ends: list[float] = []
        self.mib: list[float] = []

    @harness.hookimpl
    def harness_register_updaters(self) -> list[UpdaterSpec]:
        return [UpdaterSpec("idle", "trains nothing", lambda _, context: IdleUpdater(self.size, context), NoConfig)]

    @harness.hookimpl
    def harness_round_finished(self) -> None:
        self.ends.append(time.perf_counter())
        if len(self.ends) % 5 == 0:
            gc.collect()
            self.mib.append(resident())


def resident() -> float:
    """MiB of this process alone and its part of what it shares (PSS)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def loop(folder: Path, settings: Mapping[str, Any], size: int) -> Observer:
    registry: Registry = load_registry(third_party=False)
    observer = Observer(size)
    registry.add(observer, Origin("overhead", "benchmarks", "1"))
    harness.run_loop(harness.plan_loop(settings, registry=registry), runs=folder, run="r", registry=registry)
    return observer


def default_rounds(folder: Path, model: str, rounds: int) -> tuple[list[float], dict[str, float]]:
    """Seconds of each round but the first, which imports what is needed; and the median of each step."""
    settings = {
        "suite": "tool-calls",
        "beside": ["general"],
        "model": model,
        "generator": {"name": "scripted", "config": {"default": ['[{"name": "find", "arguments": {"n": 1}}]', "no"]}},
        "stages": [{"updater": "idle", "prompts": 48, "n": 8, "rounds": rounds + 1}],
    }
    ends = loop(folder, settings, PARAMETERS).ends
    return [b - a for a, b in pairwise(ends)], step_seconds(RunStore.open(folder / "r"))


def step_seconds(store: RunStore) -> dict[str, float]:
    """The median over rounds 2 and later; round 1 learns the format, in another way."""
    steps: dict[str, list[float]] = {}
    for (index, step), entry in store.entries.items():
        if index > 1 and step != "commit":
            steps.setdefault(step, []).append(entry.seconds)
    return {step: median(found) for step, found in steps.items()}


def small_rounds(folder: Path, model: str, rounds: int) -> Observer:
    suite = folder / "letters"
    suite.mkdir(parents=True)
    (suite / "suite.toml").write_text(LETTERS)
    for kind in ("items", "train"):
        rows = [
            {"id": f"{kind}-{i}", "prompt": f"{kind} {i}: say {'abc'[i % 3]}", "target": {"answers": ["abc"[i % 3]]}}
            for i in range(60)
        ]
        (suite / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "suite": str(suite),
        "model": model,
        "generator": {"name": "scripted", "config": {"default": ["a", "b", "c"], "pick": "random"}},
        "stages": [{"updater": "idle", "prompts": 8, "n": 4, "rounds": rounds}],
    }
    return loop(folder, settings, 1000)


# ---------------------------------------------------------------- the length of a run


def journal(folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of one step more, and of what a resumed run does before it goes on."""
    RunStore.create(folder, {"config": {}}, "")
    lines = []
    for index in range(rounds + 1):
        outcome = "promoted" if index % 10 == 0 else "rejected"
        commit = {"outcome": outcome, "version": "0" * 64, "sentence": "Rejected: " + "x" * 120}
        figures = {f"figure/of/the/step/{number}": number / 7 for number in range(20)}
        for step in (*ROUND, "commit"):
            data = commit if step == "commit" else figures
            line = {"round": index, "step": step, "artifact": f"rounds/{index:03d}/{step}", "sha256": "0" * 64}
            lines.append(json.dumps({**line, "data": data, "seconds": 1.0, "at": "2026-01-01T00:00:00Z"}))
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")

    def resume() -> RunStore:
        store = RunStore.open(folder)
        with store.lock():
            assert store.committed() == rounds
            assert store.incumbent_round(upto=rounds) == rounds // 10 * 10
        return store

    store = resume()
    numbers = iter(range(rounds + 1, rounds + 1000))

    def step() -> None:
        store.step(
            next(numbers), "sample", "a.txt", make=lambda path: path.write_text("a") and None, read=Path.read_text
        )

    def look() -> None:
        for upto in range(rounds - 9, rounds + 1):
            assert store.incumbent_round(upto=upto) >= 0
            assert not store.stopped

    timed = {"one step": step, "ten looks at what stands": look, "open and find the resume point": resume}
    found = {name: 1e3 * seconds(turns) for name, turns in alternating(timed, 9).items()}
    return {"rounds": rounds, "journal KiB": (folder / "journal.jsonl").stat().st_size // 1024, **found}


# ---------------------------------------------------------------- all of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run of the real model, for the share of a round")
    parser.add_argument("--model", default="smollm2-135m", help="only its tokenizer is used")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=50, help="of the small loop")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the rows there")
    options = parser.parse_args()
    started = start_up(options.repeats)
    shown = [[row["what"], f"{row['ms']:.0f}", f"{row['processor_ms']:.0f}"] for row in started]
    print(table(["start-up", "median ms", "of the processor"], shown), "\n")

    with tempfile.TemporaryDirectory() as folder:
        # Before the larger loop: in what that leaves free of the heap, growth would not show.
        small = small_rounds(Path(folder) / "small", options.model, options.rounds)
        ours, steps = default_rounds(Path(folder) / "default", options.model, 5)
        lengths = [journal(Path(folder) / str(rounds), rounds) for rounds in (10, 100, 1000)]
    shown = [[step, f"{value:.3f}"] for step, value in steps.items()]
    print(table(["a default round without a model", "seconds"], [*shown, ["in all", f"{median(ours):.3f}"]]), "\n")
    whole = sum(step_seconds(RunStore.open(options.run)).values()) if options.run else None
    if whole is not None:
        print(f"The real model takes {whole:.1f} s a round: {median(ours) / whole:.2%} of that is ours.\n")

    each = np.diff(small.ends)
    fives = [5 * (number + 1) for number in range(len(small.mib))]
    slope = float(np.polyfit(fives[1:], small.mib[1:], 1)[0])
    print(table(["small loop: round", *map(str, fives)], [["MiB", *(f"{mib:.1f}" for mib in small.mib)]]))
    early, late = median(each[:10]), median(each[-10:])
    print(f"{slope:+.3f} MiB a round from round {fives[1]} on; a round takes", end=" ")
    print(f"{early:.3f} s at first and {late:.3f} s at last\n")
    rows = [[f"{row[name]:.2f}" if isinstance(row[name], float) else str(row[name]) for name in row] for row in lengths]
    print(table([name if name in ("rounds", "journal KiB") else f"{name}, ms" for name in lengths[0]], rows))
    if options.json:
        round_row = {"ours": median(ours), "steps": steps, "model": whole}
        memory = {"rounds": fives, "mib": small.mib, "slope": slope, "early": early, "late": late}
        write_json(options.json, [{"start_up": started, "round": round_row, "memory": memory, "lengths": lengths}])


if __name__ == "__main__":
    main()
