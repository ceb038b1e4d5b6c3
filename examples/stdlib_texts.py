"""Writes the docstrings of Python's standard library as raw text: real English and code, on every machine.

    python examples/stdlib_texts.py texts.jsonl [--tokens 60000]

One {"text": ...} a module, for the updater `cpt`. The texts belong to Python (PSF licence); they are not copied into
this project.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sysconfig
from pathlib import Path

CHARACTERS_PER_TOKEN = 4


def text_of(file: Path) -> str:
    """Module, class and function docstrings in order, each under its name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            name = file.stem if isinstance(node, ast.Module) else f"{file.stem}.{node.name}"
            parts.append(f"{name}\n{text}")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the standard library's docstrings as JSON lines.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, default=60_000, help="about how many")
    options = parser.parse_args()
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    random.Random(0).shuffle(files)
    rows, budget = [], options.tokens * CHARACTERS_PER_TOKEN
    for file in files:
        text = text_of(file)
        if len(text) > 500 and budget > 0:
            rows.append({"id": file.stem, "text": text[:budget]})
            budget -= len(text)
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{len(rows)} texts, {sum(len(row['text']) for row in rows):,} characters in {options.out}")


if __name__ == "__main__":
    main()
