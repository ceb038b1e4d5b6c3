"""Several processes on one update (`accelerate launch`): all plan the same steps, each computes a share of their rows.

With the gradients of a step added up over processes, n processes take the step that one process takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

T = TypeVar("T")
R = TypeVar("R")


def on_cpu() -> bool:
    """Whether this process computes on the CPU: where there is no GPU, or where the launcher was told so."""
    return not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "false").lower() == "true"


def processes() -> PartialState:
    """This process among its siblings: `process_index`, `num_processes`, `device`."""
    return PartialState(cpu=on_cpu())


def share(items: Sequence[T]) -> list[tuple[T, bool]]:
    """This process's part of `items`, as many for each process. The flag is False where an item only fills up.

    Sharded engines gather weights in every forward pass, so all processes must make equally many.
    """
    state = processes()
    rounds = -(-len(items) // state.num_processes)
    places = [state.process_index + turn * state.num_processes for turn in range(rounds)]
    return [(items[min(place, len(items) - 1)], place < len(items)) for place in places]


def each_elsewhere(items: Sequence[T], work: Callable[[T], R]) -> list[R]:
    """`work` of every item, in order; the items are shared out over the processes."""
    state = processes()
    mine = {i: work(items[i]) for i in range(state.process_index, len(items), state.num_processes)}
    if state.num_processes == 1:
        return list(mine.values())
    found = dict(gather_object(list(mine.items())))
    return [found[i] for i in range(len(items))]


def agreed(value: T) -> T:
    """The first process's value, for all: what is decided by it must be decided alike."""
    if processes().num_processes == 1:
        return value
    held = [value]
    broadcast_object_list(held)
    return held[0]


def summed(values: Mapping[str, float]) -> dict[str, float]:
    """The sums over processes; all must hold the same names."""
    state = processes()
    if state.num_processes == 1:
        return dict(values)
    names = sorted(values)
    sums = torch.tensor([values[name] for name in names], dtype=torch.float64, device=state.device)
    torch.distributed.all_reduce(sums)
    return dict(zip(names, sums.tolist(), strict=True))
