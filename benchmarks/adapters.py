"""Every kind of adapter on a real model: what it trains, and whether it arrives where it must, as a table.

    python benchmarks/adapters.py [--model NAME] [--rows N] [--epochs N] [--json FILE] [KIND ...]

Each is trained on the same demonstrations of `general`, loaded back, served by the transformers generator, and merged.
The kinds are those of the tests (`tests/training/adapter_kinds.py`). Of a QLoRA adapter the base is 4-bit while it is
trained and the same weights in `--dtype` when it is served: the differences show the rounding between the two.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "training"))

from adapter_kinds import KINDS, Outcome, try_kind

from harness import assets
from harness.api import find_suite
from harness.plugins import load_registry
from harness.protocols import RunContext, SilentProgress
from harness.types import Sampling, ScoredGroup


def demonstrations(context: RunContext, rows: int) -> list[ScoredGroup]:
    assert context.components is not None
    suite = find_suite("general", load_registry(), context)
    reference = context.components.create("generator", "reference", {}, context)
    groups = reference.generate(suite.train[:rows], n=1, sampling=Sampling(), seed=0)
    return [ScoredGroup(group, ((),), (1.0,)) for group in groups]


def table(rows: list[dict[str, Any]]) -> Table:
    made = Table("kind", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("trained weights", "loss", "loaded back", "served", "merged", "seconds"):
        made.add_column(column, justify="right")
    for row in rows:
        merged = row["merged_difference"]
        made.add_row(
            row["kind"],
            f"{row['trainable']:,}",
            f"{row['first_loss']:.3f} -> {row['last_loss']:.3f}",
            f"{row['loaded_difference']:.1e}",
            f"{row['served_error']:.1e}",
            "cannot be" if merged is None else f"{merged:.1e}",
            f"{row['seconds']:.0f}",
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Try every kind of adapter.")
    parser.add_argument("kind", nargs="*", help="only these; without any, all")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--rows", type=int, default=64, help="demonstrations, 8 a step")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows there")
    options = parser.parse_intermixed_args()
    known = [kind.name for kind in KINDS]
    if unknown := sorted(set(options.kind) - set(known)):
        parser.error(f"unknown kind {', '.join(unknown)}; known are {', '.join(known)}")
    model = assets.model(options.model, SilentProgress())
    context = RunContext(model=model, components=load_registry())
    groups = demonstrations(context, options.rows)
    rows = []
    for kind in KINDS:
        if not options.kind or kind.name in options.kind:
            started = time.monotonic()
            outcome: Outcome = try_kind(kind, context, groups, epochs=options.epochs, dtype=options.dtype)
            rows.append({**asdict(outcome), "seconds": time.monotonic() - started})
            print(kind.name, file=sys.stderr)
    Console().print(table(rows))
    print("loss: first and last optimizer step; loaded back, served: nats a token from what the trainer saw (mean);")
    print("merged: largest difference of a logit from the unmerged adapter, in fp32")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
