"""What a row costs to update, against the lengths of prompts and completions, the group's size and the vocabulary.

    python benchmarks/scaling.py [--model NAME] [--repeats 3] [--json FILE] [--only VARIED]

One forward and one backward pass of a packed row (LoRA r = 16 on every linear layer, bf16), as every updater of ours
makes them; what varies is changed alone, from a prompt of 256 tokens with 8 completions of 64. Beside the seconds are
the products that they need at least (floating-point operations of the frozen layers forward and back to their inputs,
of the adapter, of visible attention, of the head at scored positions; nothing recomputed counts), their share of this
machine's peak, which is the rate of a large bf16 product taken in the same turn, the MiB that autograd holds between
the passes, the peak of the process over what it held before, and the bytes that have to move once: the weights in both
passes, and what is held, written and read. Vocabularies are the model's own embedding cut off or extended by random
rows.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from side_by_side import write_json
from torch import nn
from update_sides import LORA, Clock, memory

from harness import assets
from harness.cli.tables import table
from harness.plugins import load_registry
from harness.protocols import RunContext, SilentProgress
from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup
from harness_plugins.models.shared_prefix import completion_logps
from harness_plugins.training.configs import TrainingConfig
from harness_plugins.training.fitting import open_trainable

RANK = int(LORA["r"])


@dataclass(frozen=True)
class Cell:
    """Tokens of the prompt and of each completion, completions, rows of the embedding (0: the model's own)."""

    prompt: int = 256
    completion: int = 64
    group: int = 8
    vocabulary: int = 0

    @property
    def row(self) -> Row:
        generator = torch.Generator().manual_seed(0)

        def tokens(count: int) -> tuple[int, ...]:
            return tuple(torch.randint(10, 10_000, (count,), generator=generator).tolist())

        completions = tuple(TrainingCompletion(tokens(self.completion)) for _ in range(self.group))
        return Row((TrainingGroup(tokens(self.prompt), completions),))


GRID: dict[str, list[Cell]] = {
    "prompt": [Cell(prompt=tokens) for tokens in (64, 256, 1024)],
    "completion": [Cell(completion=tokens) for tokens in (16, 64, 256)],
    "group": [Cell(group=size) for size in (2, 8, 32)],
    "vocabulary": [Cell(vocabulary=size) for size in (16_384, 49_152, 131_072)],
}


@dataclass(frozen=True)
class Cost:
    seconds: float
    peak_rate: float
    """Operations a second of a large product, in the same turn."""
    held_mib: float
    peak_mib: float


def operations(model: Any, cell: Cell) -> float:
    """What one update of the row needs at least."""
    config = model.config
    adapted = [m.base_layer for m in model.modules() if hasattr(m, "lora_A")]
    frozen = sum(2 * m.in_features * m.out_features for m in adapted)
    adapter = sum(2 * RANK * (m.in_features + m.out_features) for m in adapted)
    tokens, own = cell.row.packed_tokens, cell.completion - 1
    seen = cell.prompt * (cell.prompt + 1) / 2 + cell.group * (own * cell.prompt + own * (own + 1) / 2)
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * seen
    head = 2 * config.hidden_size * len(model.get_input_embeddings().weight) * cell.group * cell.completion
    return float(tokens * (2 * frozen + 3 * adapter) + 3 * attention + 2 * head)


def moved_bytes(model: Any, held_mib: float) -> float:
    return 2 * sum(p.numel() * p.element_size() for p in model.parameters()) + 2 * held_mib * 2**20


def peak_rate(side: int = 2048) -> float:
    left, right = torch.randn(2, side, side, dtype=torch.bfloat16).unbind()
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        left @ right
        taken.append(time.perf_counter() - started)
    return 2 * side**3 / min(taken)


def update(model: Any, row: Row) -> None:
    completion_logps(model, row)[0].sum().backward()


def held(model: Any, row: Row) -> float:
    """MiB that autograd keeps for the backward pass, without the model's own weights."""
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        update(model, row)
    return sum(kept.values()) / 2**20


def measured(model: Any, cell: Cell) -> Cost:
    row, clock = cell.row, Clock()
    rate = peak_rate()
    model.zero_grad()
    gc.collect()
    clock.start()
    update(model, row)
    taken = time.perf_counter() - clock.started
    return Cost(taken, rate, held(model, row), memory("VmHWM") - clock.before)


def resized(model: Any, rows: int) -> Callable[[], None]:
    """Give the model an embedding of that many rows; what is returned gives its own back."""
    base = model.get_base_model()
    own = base.get_input_embeddings().weight
    if not rows or rows == len(own):
        return lambda: None
    extra = torch.randn(max(0, rows - len(own)), own.shape[1], dtype=own.dtype) * own.std()
    set_embedding(base, nn.Parameter(torch.cat([own.data[:rows], extra]), requires_grad=False))
    return lambda: set_embedding(base, own)


def set_embedding(base: Any, weight: nn.Parameter) -> None:
    base.get_input_embeddings().weight = weight
    base.get_output_embeddings().weight = weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=list(GRID))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    reference = assets.model(options.model, SilentProgress())
    context = RunContext(model=reference, adapter=LORA, components=load_registry(third_party=False))
    model = open_trainable(context, TrainingConfig(learning_rate=1e-4), parent=None, seed=0)
    model.train()
    own = len(model.get_input_embeddings().weight)
    cells = [(v, cell) for v, cells in GRID.items() for cell in cells if options.only in (None, v)]
    update(model, replace(Cell(), prompt=32, completion=8).row)
    found: dict[tuple[str, Cell], list[Cost]] = {place: [] for place in cells}
    needed: dict[Cell, float] = {}
    for _ in range(options.repeats):
        for varied, cell in cells:
            give_back = resized(model, cell.vocabulary)
            found[varied, cell].append(measured(model, cell))
            needed[cell] = operations(model, cell)
            give_back()
    rows = []
    for (varied, cell), costs in found.items():
        kept = median(c.held_mib for c in costs)
        share = median(needed[cell] / c.seconds / c.peak_rate for c in costs)
        rows.append(
            {
                "varied": varied,
                "cell": f"{cell.prompt} / {cell.completion} x {cell.group}, {cell.vocabulary or own:,}",
                "tokens": cell.row.packed_tokens,
                "seconds": median(c.seconds for c in costs),
                "gflop": needed[cell] / 1e9,
                "of_peak": share,
                "peak_gflops": median(c.peak_rate for c in costs) / 1e9,
                "held_mib": kept,
                "peak_mib": median(c.peak_mib for c in costs),
                "moved_mib": moved_bytes(model, kept) / 2**20,
            }
        )
    if options.json:
        write_json(options.json, rows)
    heads = ["varied", "prompt / completion x group, vocabulary", "tokens", "s", "GFLOP", "of peak"]
    shown = [
        [
            row["varied"],
            row["cell"],
            f"{row['tokens']:,}",
            f"{row['seconds']:.2f}",
            f"{row['gflop']:.0f}",
            f"{row['of_peak']:.0%}",
            f"{row['held_mib']:,.0f}",
            f"{row['peak_mib']:,.0f}",
            f"{row['moved_mib']:,.0f}",
        ]
        for row in rows
    ]
    print(table([*heads, "held MiB", "peak MiB", "moved MiB"], shown))
    print(f"a large bf16 product: {median(row['peak_gflops'] for row in rows):.0f} GFLOP/s")


if __name__ == "__main__":
    main()
