"""Peak memory and speed of an update: LoRA, QLoRA, recomputed activations, full fine-tuning, side by side.

    python benchmarks/memory.py [--model NAME | --layers N --hidden N] [--tokens N] [--json FILE] [WAY ...]

Each way trains in a process of its own on the same packed rows; alternating, `--repeats` times, and medians are shown.
Memory is the peak of the process over what it held before the model was loaded: resident on the CPU, allocated on CUDA.
`--hidden` makes a Llama of random weights, which does for memory and speed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

LORA = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
WAYS: dict[str, dict[str, Any]] = {
    "LoRA, bf16 base": {"adapter": LORA, "config": {}},
    "LoRA, recomputing": {"adapter": LORA, "config": {"gradient_checkpointing": True}},
    "QLoRA, nf4 base": {"adapter": LORA, "config": {"quantization": "nf4"}},
    "QLoRA, recomputing": {"adapter": LORA, "config": {"quantization": "nf4", "gradient_checkpointing": True}},
    "full, fp32 weights": {"adapter": {"peft_type": "FULL"}, "config": {"learning_rate": 1e-5}},
}


def random_model(folder: Path, layers: int, hidden: int) -> str:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from harness import assets
    from harness.protocols import SilentProgress

    real = assets.model("smollm2-135m", SilentProgress()).path
    tokenizer = AutoTokenizer.from_pretrained(real)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 256,
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def train(way: str, model: str, tokens: int, steps: int) -> None:
    """One update in this process; prints what it took as JSON."""
    import torch

    from harness import assets
    from harness.plugins import load_registry
    from harness.protocols import RunContext, SilentProgress
    from harness.types import Completion, Group, Prompt, Sampling, ScoredGroup
    from harness_plugins import fitting  # what it imports is in memory before the count starts
    from harness_plugins.updaters.configs import SftConfig
    from harness_plugins.updaters.sft import SftUpdater

    assert fitting
    settings = WAYS[way]
    context = RunContext(
        model=assets.model(model, SilentProgress()), adapter=settings["adapter"], components=load_registry()
    )
    generator = torch.Generator().manual_seed(0)
    groups = []
    for index in range(steps):
        ids = torch.randint(10, 1000, (tokens + 1,), generator=generator).tolist()
        group = Group(Prompt(str(index), ()), (ids[0],), (Completion("", tuple(ids[1:])),), "none", Sampling())
        groups.append(ScoredGroup(group, ((),), (1.0,)))
    common = {"batch": 1, "epochs": 1, "max_tokens_per_row": tokens + 1, "save_steps": 0}
    config = SftConfig(**{**common, **settings["config"]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        update = SftUpdater(config, context).update(groups, parent=None, out=Path(folder) / "out", seed=0)
        seconds = time.monotonic() - started
    cuda = torch.cuda.is_available()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else resident
    speed = update.metrics["update/packed_tokens_per_second"]
    print(json.dumps({"mib": peak, "tokens_per_s": speed, "seconds": seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the memory of ways to train.")
    parser.add_argument("way", nargs="*", help="only these; without any, all")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, help="a random Llama of this width instead of --model")
    parser.add_argument("--tokens", type=int, default=1024, help="of a row")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows there")
    parser.add_argument("--here", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args()
    if options.here:
        train(options.here, options.model, options.tokens, options.steps)
        return
    if unknown := sorted(set(options.way) - set(WAYS)):
        parser.error(f"unknown way {', '.join(unknown)}; known are {', '.join(WAYS)}")
    ways = [way for way in WAYS if way in options.way] or list(WAYS)
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder), options.layers, options.hidden) if options.hidden else options.model
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(options.repeats):
            for way in ways:
                command = [sys.executable, __file__, "--here", way, "--model", model]
                command += ["--tokens", str(options.tokens), "--steps", str(options.steps)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{way}: {done.stderr[-2000:]}")
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
                print(way, found[way][-1], file=sys.stderr)
    rows = [
        {"way": way, **{name: median(run[name] for run in runs) for name in runs[0]}} for way, runs in found.items()
    ]
    first = rows[0]
    made = Table("way", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("peak MiB", "of the first", "tokens/s", "of the first"):
        made.add_column(column, justify="right")
    for row in rows:
        made.add_row(
            row["way"],
            f"{row['mib']:.0f}",
            f"{row['mib'] / first['mib']:.2f}",
            f"{row['tokens_per_s']:.0f}",
            f"{row['tokens_per_s'] / first['tokens_per_s']:.2f}",
        )
    Console().print(made)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
