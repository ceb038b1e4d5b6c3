"""How long it takes until a trained adapter is served: merge, swap and probe apart, against restarting the engine.

    python benchmarks/handover.py ADAPTER [ADAPTER] [--repeats 3] [--no-restart] [--json FILE]

One engine stays up and serves the adapters in turn (with one, that and the base model). The merge is timed twice: as it
is done, and as PEFT does it on the model in memory; their weights must be equal. `restart` is what the hand-over would
cost without a swap: the engine is started on the merged folder, until it has scored the probe. That each hand-over
arrived is proved as in a loop: the served log-probabilities are the trainer's, and moved.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import load_file
from side_by_side import alternating, write_json

import harness
from harness import assets
from harness.api import start_generator
from harness.checkpoints import open_checkpoint
from harness.cli.tables import table
from harness.cli.view import View
from harness.config import GeneratorRef
from harness.probe import serve
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint
from harness_plugins.models import merging

PARTS = ("merge", "swap", "probe", "whole hand-over")


class Stopwatch:
    """Seconds that calls of a generator's methods took, by a name of one's own."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in PARTS}

    def watch(self, owner: Any, method: str, name: str) -> None:
        wrapped = getattr(owner, method)

        def timed(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return wrapped(*args, **options)
            finally:
                self.seconds[name].append(time.perf_counter() - started)

        setattr(owner, method, timed)


def hand_over(
    generator: Any, adapters: Sequence[AdapterCheckpoint | None], repeats: int
) -> tuple[dict[str, list[float]], list[dict[str, float]]]:
    """Seconds of each part in each hand-over of an adapter, and what its probe said."""
    serve(generator, adapters[0], before=None)  # kernels are chosen in the first
    watch, before, metrics = Stopwatch(), adapters[0], []
    watch.watch(merging, "merge_adapter", "merge")
    watch.watch(generator, "_reload", "swap")
    watch.watch(generator, "score_tokens", "probe")
    for turn in range(repeats * len(adapters)):
        checkpoint = adapters[(turn + 1) % len(adapters)]
        marks = {name: len(found) for name, found in watch.seconds.items()}
        started = time.perf_counter()
        found = serve(generator, checkpoint, before=before)
        whole = time.perf_counter() - started
        if checkpoint is None:  # nothing to merge: the base's own folder is loaded
            for name, mark in marks.items():
                del watch.seconds[name][mark:]
        else:
            watch.seconds["whole hand-over"].append(whole)
            probes = watch.seconds["probe"][marks["probe"] :]
            watch.seconds["probe"][marks["probe"] :] = [sum(probes)]
            metrics.append(found)
        before = checkpoint
    return watch.seconds, metrics


def merges(base: Path, adapter: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of both ways to merge. Stops the benchmark where their weights differ."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours", Path(folder) / "peft"
        turns = alternating(
            {
                "merge from file to file": lambda: merging.merge_adapter(base, adapter, ours),
                "merge by PEFT": lambda: merging._merge_by_peft(base, adapter, theirs, "bfloat16"),
            },
            repeats,
        )
        ours_W, theirs_W = (load_file(side / "model.safetensors") for side in (ours, theirs))
        if ours_W.keys() != theirs_W.keys() or not all(torch.equal(ours_W[name], theirs_W[name]) for name in ours_W):
            raise SystemExit("the two merges differ")
    return {name: [turn.seconds for turn in side] for name, side in turns.items()}


def restarts(context: RunContext, checkpoint: AdapterCheckpoint, registry: Any, repeats: int) -> list[float]:
    """Seconds to start an engine on the merged model, until it has scored the probe; the merge is not counted."""
    found, model = [], context.require_model()
    with tempfile.TemporaryDirectory() as folder:
        merging.merge_adapter(model.path, checkpoint.path, Path(folder))
        merged = replace(context, model=replace(model, folder=Path(folder)))
        for _ in range(repeats):
            started = time.perf_counter()
            generator = start_generator(GeneratorRef(name="vllm"), registry, merged)
            if checkpoint.probe is not None:
                generator.score_tokens(checkpoint.probe.token_ids)
            found.append(time.perf_counter() - started)
            generator.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path, nargs="+", help="adapter folders with their seals, of smollm2-135m")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-restart", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    registry, model = harness.load_registry(), assets.model("smollm2-135m")
    context = RunContext(model=model, progress=View(quiet=True), components=registry)
    adapters: list[AdapterCheckpoint | None] = [
        open_checkpoint(path, base=model.fingerprint) for path in options.adapter
    ]
    first = adapters[0]
    assert first is not None
    seconds = merges(model.path, first.path, options.repeats)
    generator = start_generator(GeneratorRef(name="vllm"), registry, context)
    parts, metrics = hand_over(generator, adapters if len(adapters) > 1 else [first, None], options.repeats)
    generator.close()
    seconds |= parts
    show(seconds)
    for name in ("serve/probe_error", "serve/probe_shift"):
        print(f"{name}: {', '.join(f'{found[name]:.3f}' for found in metrics)} nats a token", flush=True)
    if not options.no_restart:
        seconds["restart of the engine"] = restarts(context, first, registry, options.repeats)
        show({name: seconds[name] for name in ("whole hand-over", "restart of the engine")})
    if options.json:
        write_json(options.json, [{"part": name, "seconds": found} for name, found in seconds.items()])


def show(seconds: Mapping[str, Sequence[float]]) -> None:
    rows = [[name, f"{median(each):.2f}", ", ".join(f"{x:.2f}" for x in each)] for name, each in seconds.items()]
    print(table(["part", "seconds (median)", "each"], rows), flush=True)


if __name__ == "__main__":
    main()
