"""CPU seconds and peak memory of `near_duplicates`, beside datasketch's MinHashLSH on the same records.

    python benchmarks/duplicates.py [--sizes N ...] [--against N] [--json FILE]

Records are synthetic: a question and an answer of 8 to 40 words each, a tenth of them copies with a word added at the
end. Each size runs in a process of its own, on one core; the peak is that of the whole process. datasketch hashes
the same shingles, with as many hashes and the bands that it chooses for 0.8, up to `--against` records.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def texts(number: int) -> Iterator[tuple[str, str]]:
    """Questions and answers."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(20_000)]
    asked = answered = ""
    for at in range(number):
        if at % 10 == 9:
            yield asked, f"{answered} {rng.choice(words)}"
            continue
        asked, answered = (" ".join(rng.choices(words, k=rng.randint(8, 40))) for _ in range(2))
        yield asked, answered


def measured(steps: Callable[[], Iterator[tuple[str, Any]]]) -> dict[str, float]:
    """CPU seconds and peak memory in GB after each named step."""
    found: dict[str, float] = {}
    before = time.process_time()
    for name, value in steps():
        found[name] = time.process_time() - before if value is None else value
        found[f"{name} GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        before = time.process_time()
    return found


def ours(number: int) -> Iterator[tuple[str, Any]]:
    from harness.data.record import Answer, Record
    from harness.protocols import RunContext
    from harness.types import Prompt
    from harness_plugins.filters.duplicates.near import NearDuplicates
    from harness_plugins.filters.duplicates.settings import NearConfig

    made = NearDuplicates(NearConfig(), RunContext())
    spent, sketches = 0.0, []
    for asked, answered in texts(number):
        record = Record(Prompt("", ({"role": "user", "content": asked},)), (Answer(answered),), "demonstration")
        start = time.process_time()
        sketches.append(made.sketch(record))
        spent += time.process_time() - start
    yield "sketch", spent
    found = made.survey(sketches)
    yield "survey", None
    yield "found", len(found)


def datasketch(number: int) -> Iterator[tuple[str, Any]]:
    from datasketch import MinHash, MinHashLSH

    from harness_plugins.filters.duplicates.shingles import shingles, units

    first = MinHash(128, hashfunc=int, scheme="affine32")
    spent, sketches = 0.0, []
    for asked, answered in texts(number):
        start = time.process_time()
        made = MinHash(128, hashfunc=int, scheme="affine32", permutations=first.permutations)
        made.update_batch(shingles(units(f"{asked} {answered}", "word")[0], 5))
        sketches.append(made)
        spent += time.process_time() - start
    yield "sketch", spent
    index, found = MinHashLSH(0.8, 128), 0
    for at, made in enumerate(sketches):
        found += bool(index.query(made))
        index.insert(at, made)
    yield "survey", None
    yield "found", found


WAYS = {"near_duplicates": ours, "datasketch": datasketch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--against", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, number = arguments.one
        print(json.dumps({"way": way, "records": int(number), **measured(lambda: WAYS[way](int(number)))}))
        return
    results = []
    table = Table("way", "records", "sketch s", "survey s", "peak GB", "found", box=box.SIMPLE)
    for number in arguments.sizes:
        for way in WAYS if number <= arguments.against else ["near_duplicates"]:
            command = [sys.executable, __file__, "--one", way, str(number)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            results.append(found)
            figures = (f"{found['sketch']:.1f}", f"{found['survey']:.1f}", f"{found['survey GB']:.2f}")
            table.add_row(way, f"{number:,}", *figures, f"{found['found']:,.0f}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
