"""How far each objective is from an independent computation of its loss and gradient, as a table.

    python benchmarks/objectives.py [--json FILE] [OBJECTIVE ...]

The oracles are those of the tests (`tests/training/oracles`): TRL's losses where it has them, a formula by hand
otherwise, on tiny models in fp32. Errors are relative, and the worst over three ways to pack the data into rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "training"))

from oracles import BUDGETS, ORACLES, Oracle


def measure(oracle: Oracle) -> dict[str, Any]:
    errors = [oracle.compare(budget) for budget in BUDGETS.values()]
    return {
        "objective": oracle.objective,
        "note": oracle.note,
        "oracle": oracle.source,
        "loss_error": max(error.loss for error in errors),
        "gradient_error": max(error.gradient for error in errors),
    }


def table(rows: list[dict[str, Any]]) -> Table:
    made = Table("objective", "with", "oracle", box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("loss error", justify="right")
    made.add_column("gradient error", justify="right")
    for row in rows:
        errors = (f"{row[name]:.1e}" for name in ("loss_error", "gradient_error"))
        made.add_row(row["objective"], row["note"], row["oracle"], *errors)
    return made


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare objectives with independent computations of them.")
    parser.add_argument("objective", nargs="*", help="only these; without any, all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows there")
    options = parser.parse_intermixed_args(arguments)
    known = {oracle.objective for oracle in ORACLES}
    if unknown := sorted(set(options.objective) - known):
        parser.error(f"unknown objective {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    rows = [measure(oracle) for oracle in ORACLES if not options.objective or oracle.objective in options.objective]
    Console().print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
