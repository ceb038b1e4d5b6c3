"""Roofs of a round on many H100s, computed and not measured: `python benchmarks/scale.py` prints the tables of
docs/scale.md.

A decoding step reads the weights once and every sequence's keys and values, and multiplies each sequence by the
weights: its time is at least the larger of bytes over bandwidth and operations over peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from rich.console import Console
from rich.table import Table

BANDWIDTH, PEAK, MEMORY = 3.35e12, 989.4e12, 80e9
"""H100 SXM5 by its datasheet: bytes a second of HBM3, dense bfloat16 operations a second, bytes."""
USED = 0.9
"""Share of the memory that weights and cache may fill."""
NETWORK = 12.5e9
"""Bytes a second out of one machine (100 Gbit/s): an assumption."""
PROMPTS, GROUP, PROMPT, ANSWER = 1024, 8, 300, 200
"""A round: prompts, completions each, tokens of both."""
UPDATING = 8
"""GPUs of an update: those of one machine."""
RANK = 16


@dataclass(frozen=True)
class Model:
    name: str
    parameters: float
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    tensor_parallel: int
    head: int = 128

    @property
    def weights(self) -> float:
        """Bytes in bfloat16."""
        return 2 * self.parameters

    @property
    def cache(self) -> int:
        """Bytes of keys and values a token, bfloat16."""
        return 2 * 2 * self.layers * self.kv_heads * self.head

    @property
    def adapter(self) -> int:
        """Parameters of LoRA on every linear layer: rank times (inputs + outputs)."""
        q, kv = self.heads * self.head, self.kv_heads * self.head
        ends = 2 * (self.hidden + q) + 2 * (self.hidden + kv) + 3 * (self.hidden + self.inner)
        return RANK * ends * self.layers

    @property
    def room(self) -> int:
        """Sequences of a prompt and an answer that the cache of a worker holds, each with a prompt of its own."""
        free = USED * MEMORY * self.tensor_parallel - self.weights
        return int(free // ((PROMPT + ANSWER) * self.cache))

    def step(self, sequences: int) -> float:
        """Seconds to decode a token of each, with half of the answer written."""
        read = self.weights + sequences * (PROMPT + ANSWER / 2) * self.cache
        compute = 2 * self.parameters * sequences
        return max(read / BANDWIDTH, compute / PEAK) / self.tensor_parallel

    def sampling(self, gpus: int) -> tuple[int, float]:
        """Sequences side by side on a worker, and seconds of a round."""
        mine = ceil(PROMPTS / (gpus // self.tensor_parallel)) * GROUP
        together = min(mine, self.room)
        prefill = 2 * self.parameters * (mine / GROUP) * PROMPT / (PEAK * self.tensor_parallel)
        return together, mine / together * ANSWER * self.step(together) + prefill

    def updating(self, gpus: int) -> float:
        """Seconds, LoRA: a forward pass and the gradients of activations, two operations a parameter and token each;
        frozen weights need no gradients of their own, and a group's prompt is computed once."""
        return 4 * self.parameters * PROMPTS * (PROMPT + GROUP * ANSWER) / (PEAK * gpus)


MODELS = (
    Model("7B", 6.74e9, 32, 4096, 11008, 32, 32, 1),
    Model("8B, 8 KV heads", 8.03e9, 32, 4096, 14336, 32, 8, 1),
    Model("70B, 8 KV heads", 70.6e9, 80, 8192, 28672, 64, 8, 8),
)


def models() -> Table:
    columns = ("model", "weights GB", "KV KiB/token", "a worker's GPUs", "sequences it holds", "full: tokens/s/GPU")
    table = Table(*columns, "adapter MB, fp32", title="models")
    for m in MODELS:
        full = m.room / m.step(m.room) / m.tensor_parallel
        row = (f"{m.weights / 1e9:.1f}", f"{m.cache / 1024:.0f}", m.tensor_parallel, m.room, f"{full:,.0f}")
        table.add_row(m.name, *map(str, row), f"{4 * m.adapter / 1e6:.0f}")
    return table


def rounds() -> Table:
    columns = ("model", "GPUs", "workers", "side by side", "bound by", "tokens/s", "sampling s", "update s")
    table = Table(
        *columns, title=f"a round of {PROMPTS} x {GROUP}, {PROMPT} + {ANSWER} tokens, update on {UPDATING} GPUs"
    )
    for m in MODELS:
        for gpus in (8, 512):
            together, seconds = m.sampling(gpus)
            bound = (
                "FLOP" if 2 * m.parameters * together / PEAK >= m.step(together) * m.tensor_parallel else "bandwidth"
            )
            rate = PROMPTS * GROUP * ANSWER / seconds
            row = (gpus, gpus // m.tensor_parallel, together, bound, f"{rate:,.0f}", f"{seconds:.2f}")
            table.add_row(m.name, *map(str, row), f"{m.updating(UPDATING):.1f}")
    return table


def hand_overs() -> Table:
    table = Table("model", "what", "MB a machine", "to 64 machines GB", "one link s", title="hand-over")
    for m in MODELS:
        for what, size in (("LoRA r16, fp32", 4 * m.adapter), ("all weights, bf16", m.weights)):
            row = (f"{size / 1e6:,.0f}", f"{64 * size / 1e9:,.0f}", f"{64 * size / NETWORK:.1f}")
            table.add_row(m.name, what, *row)
    return table


if __name__ == "__main__":
    console = Console(width=150)
    for table in (models(), rounds(), hand_overs()):
        console.print(table)
