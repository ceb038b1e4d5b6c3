"""`harness data clean` on synthetic records: seconds and peak memory by their number.

    python benchmarks/data_scale.py [--sizes 10000 100000 1000000] [--workers 2] [--folder FOLDER]

Records are short questions and answers made of the words of this project's suites, with words as frequent as Zipf's law
says; one in fifty repeats an earlier one, exactly or but for a word. The usual filters run over them. Then the largest
size but one is run again and killed half-way, and gone on with: the files must be the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import harness
from harness.api import find_suite
from harness.cli.table import table
from harness.protocols import RunContext

COMMAND = [sys.executable, "-c", "from harness.cli import main; main()", "data", "clean"]


def vocabulary() -> list[str]:
    registry = harness.load_registry()
    context = RunContext(components=registry)
    words: dict[str, None] = {}
    for name in ("general", "tool-calls"):
        for prompt in find_suite(name, registry, context).train:
            words |= dict.fromkeys(re.findall(r"[a-z]{2,}", str(prompt.messages[-1]["content"]).lower()))
    return list(words)


def write_records(path: Path, size: int, words: list[str], seed: int = 0) -> None:
    rng = random.Random(seed)
    weights = [1 / (rank + 10) for rank in range(len(words))]
    recent: list[dict[str, str]] = []
    with path.open("w") as handle:
        for start in range(0, size, 1000):
            drawn = iter(rng.choices(words, weights, k=1000 * 60))
            for index in range(start, min(start + 1000, size)):
                if recent and index % 50 == 0:
                    row = dict(rng.choice(recent))
                    if index % 100 == 0:
                        row["completion"] = row["completion"].replace(" the ", " a ", 1)
                else:
                    asked = [next(drawn) for _ in range(rng.randint(8, 20))]
                    answer = [next(drawn) for _ in range(rng.randint(10, 35))]
                    row = {
                        "prompt": " ".join(asked).capitalize() + "?",
                        "completion": " ".join(answer).capitalize() + ".",
                    }
                recent = [*recent[-200:], row]
                handle.write(json.dumps(row) + "\n")


def cleaned(source: Path, out: Path, workers: int) -> dict[str, float]:
    started = time.monotonic()
    command = [*COMMAND, str(source), "--out", str(out), "--workers", str(workers), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    return {**report, "seconds": time.monotonic() - started}


def killed(source: Path, out: Path, workers: int, after: float) -> None:
    """The same, killed after so many seconds and gone on with."""
    command = [*COMMAND, str(source), "--out", str(out), "--workers", str(workers), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"killed after {after:.0f} s; {len(list(out.with_name(out.name + '.partial').glob('0*')))} chunks were done")
    subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("data-scale"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    words, rows, seconds = vocabulary(), [], {}
    for size in options.sizes:
        source, out = options.folder / f"{size}.jsonl", options.folder / f"{size}.clean.jsonl"
        write_records(source, size, words)
        for path in options.folder.glob(f"{size}.clean*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        report = cleaned(source, out, options.workers)
        seconds[size] = report["seconds"]
        cells = [
            f"{report['seconds']:.1f}",
            f"{1e6 * report['seconds'] / size:.0f}",
            f"{report['peak_memory'] / 2**30:.2f}",
        ]
        rows.append([f"{size:,}", f"{source.stat().st_size / 2**20:.0f}", f"{report['kept']:,}", *cells])
        print(table(["records", "MiB", "kept", "seconds", "us a record", "peak GiB of a process"], rows), flush=True)
    size = sorted(options.sizes)[-2:][0]
    source, again = options.folder / f"{size}.jsonl", options.folder / f"{size}.again.jsonl"
    for path in options.folder.glob(f"{size}.again*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    killed(source, again, options.workers, seconds[size] / 2)
    same = sha256(again) == sha256(options.folder / f"{size}.clean.jsonl")
    print(f"{size:,} records, killed and gone on with: {'the same file' if same else 'ANOTHER FILE'}")


if __name__ == "__main__":
    main()
