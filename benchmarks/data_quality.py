"""What each filter finds of the defects that were planted in real data, and what it says of the rest, as a table.

    python benchmarks/data_quality.py [--seed N] [--json FILE] [--data FILE] [--examples N] [FILTER ...]

The data are real: what the built-in suites train on, with its answers; questions of HaluEval about passages that no
suite holds out, as pairs; and the pairs of chat answers that judges are tried on. Planted are 200 near-duplicates, 50
secrets, 50 pieces of personal data, 100 items that suites hold out, 100 pieces of spam and 50 malformed rows. Each
filter runs alone, with its defaults, on everything that could be read, and what it finds is only flagged. *Recall* is
of its own plants; *false* are real rows that it flags; *own* and *any* are the shares of what it flags that were
planted for it, and planted at all. Examples of filters of secrets and personal data show reasons, never text.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planted import Plant, Row, plant
from rich import box
from rich.console import Console
from rich.table import Table

from harness.api import find_suite
from harness.assets import fetch
from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.reading import BadRow, read_records
from harness.data.record import Record
from harness.plugins import Registry, load_registry
from harness.protocols import RunContext, SilentProgress, Suite

SUITES = (
    "tool-calls", "tool-calls-live", "general", "chat", "grounded-qa", "instruction-following", "structured-output",
    "perplexity",
)  # fmt: skip
PASSAGES = 2_000
"""Of HaluEval."""
PRIVATE = {"secrets", "pii"}
OWN: Mapping[str, str] = {
    "near_duplicates": "near_duplicate",
    "secrets": "secret",
    "pii": "pii",
    "leakage": "leaked",
    "spam": "spam",
    "format": "malformed",
}
"""The kind of plant that a filter is there for; the others have none here, and are to be silent."""
FILTERS = (
    *OWN, "exact_duplicates", "repetition", "symbols", "boilerplate", "truncation", "language", "length", "templates",
    "unsafe",
)  # fmt: skip
CONFIGS: Mapping[str, dict[str, Any]] = {"leakage": {"suites": list(SUITES)}}


@dataclass(frozen=True)
class Found:
    """What a filter said. `by_sort` is its recall of each sort of its own plants: (found, planted)."""

    filter: str
    flagged: int
    planted: int
    found: int
    false: int
    any: int
    seconds: float
    by_sort: dict[str, tuple[int, int]]
    reasons: dict[str, int]
    false_alarms: list[str]
    misses: list[str]


# ---------------------------------------------------------------- real rows


def real_rows(suites: Sequence[Suite]) -> list[Row]:
    trained = [_row(suite, index) for suite in suites for index in range(len(suite.train))]
    return [*trained, *_passages(suites), *_chat_pairs()]


def _row(suite: Suite, index: int) -> Row:
    prompt = suite.train[index]
    if not prompt.messages:
        return {"text": prompt.reference}
    row: Row = {"tools": json.loads(prompt.tools)} if prompt.tools else {}
    return row | {"prompt": [dict(message) for message in prompt.messages], "completion": prompt.reference}


def _passages(suites: Sequence[Suite]) -> Iterator[Row]:
    """Pairs of answers to questions about passages, in the order of a hash, without those of which a suite uses eight
    words in a row."""
    used = {run for suite in suites for prompt in (*suite.train, *suite.items) for run in _runs(_text(prompt))}
    path = fetch("halueval", SilentProgress()) / "dataset_halueval_qa.jsonl"
    lines = sorted(
        path.read_text(encoding="utf-8").splitlines(), key=lambda line: hashlib.sha256(line.encode()).digest()
    )
    taken = 0
    for values in map(json.loads, lines):
        asked = f"{values['knowledge'].strip()}\n\n{values['question'].strip()}"
        if taken < PASSAGES and used.isdisjoint(_runs(asked)):
            taken += 1
            message = {"role": "user", "content": asked}
            yield {"prompt": [message], "chosen": values["right_answer"], "rejected": values["hallucinated_answer"]}


def _text(prompt: Any) -> str:
    return " ".join([*(str(message["content"]) for message in prompt.messages), prompt.reference or ""])


def _runs(text: str) -> set[str]:
    words = re.findall(r"\w+", text.casefold())
    return {" ".join(words[start : start + 8]) for start in range(len(words) - 7)}


def _chat_pairs() -> Iterator[Row]:
    import harness_judges

    path = Path(str(harness_judges.__file__)).parent / "data" / "pairs.jsonl"
    for values in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        asked = "\n\n".join(filter(None, [values.get("context"), values["prompt"]]))
        yield {
            "prompt": [{"role": "user", "content": asked}],
            "chosen": values["better"],
            "rejected": values["worse"],
        }


# ---------------------------------------------------------------- what filters find


def measure(
    name: str, records: Sequence[Record], plants: Mapping[int, Plant], registry: Registry, examples: int
) -> Found:
    use = FilterUse(name=name, config=CONFIGS.get(name, {}), action="flag")
    started = time.perf_counter()
    sifted = sift(records, make_sieve([use], registry, RunContext(components=registry)))
    seconds = time.perf_counter() - started
    said = {records[index].place: (records[index], remarks) for index, remarks in sifted.remarks.items()}
    own = {n for n, one in plants.items() if one.kind == OWN.get(name) and one.readable}
    alarms = [n for n in said if n not in plants]
    sorts = {plants[n].sort: None for n in sorted(own)}
    by_sort = {sort: _recall([n for n in sorted(own) if plants[n].sort == sort], said) for sort in sorts}
    by_place = {record.place: record for record in records}
    return Found(
        name,
        flagged=len(said),
        planted=len(own),
        found=len(own & set(said)),
        false=len(alarms),
        any=len(said) - len(alarms),
        seconds=seconds,
        by_sort=by_sort,
        reasons=dict(Counter(remark.reason for _, remarks in said.values() for remark in remarks).most_common()),
        false_alarms=[
            f"{n}: {said[n][1][0].reason}: {said[n][1][0].detail}{_shown(name, said[n][0])}" for n in alarms[:examples]
        ],
        misses=[
            f"{n}: {plants[n].sort}{_shown(name, by_place[n]) if n in by_place else ' (could not be read)'}"
            for n in sorted(own - set(said))[:examples]
        ],
    )


def _recall(places: Sequence[int], said: Mapping[int, Any]) -> tuple[int, int]:
    return sum(n in said for n in places), len(places)


def _shown(name: str, record: Record) -> str:
    return "" if name in PRIVATE else f" | {' '.join(record.text.split())[:120]}"


def reading(bad: Sequence[BadRow], plants: Mapping[int, Plant], seconds: float, examples: int) -> Found:
    """What the reader itself refused, as if it were a filter."""
    own = {n for n, one in plants.items() if not one.readable}
    places = {row.place for row in bad}
    false = [f"{row.place}: {row.reason}: {row.detail}" for row in bad if row.place not in plants]
    return Found(
        "(reading)",
        flagged=len(places),
        planted=len(own),
        found=len(own & places),
        false=len(false),
        any=len(places & set(plants)),
        seconds=seconds,
        by_sort={
            s: _recall([n for n in own if plants[n].sort == s], places) for s in sorted({plants[n].sort for n in own})
        },
        reasons=dict(Counter(row.reason for row in bad)),
        false_alarms=false[:examples],
        misses=[f"{n}: {plants[n].sort}" for n in sorted(own - places)[:examples]],
    )


# ---------------------------------------------------------------- showing it


def table(rows: Sequence[Found]) -> Table:
    made = Table("filter", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("flagged", "planted", "found", "recall", "false", "own", "any", "seconds"):
        made.add_column(name, justify="right")
    for row in rows:
        counts = (row.flagged, row.planted, row.found)
        shares = (_share(row.found, row.planted), str(row.false), _share(row.found, row.flagged))
        made.add_row(row.filter, *map(str, counts), *shares, _share(row.any, row.flagged), f"{row.seconds:.1f}")
    return made


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""


def details(row: Found) -> str:
    lines = [f"{row.filter}: " + ", ".join(f"{reason} {count}" for reason, count in row.reasons.items())]
    if row.by_sort:
        lines.append("  found: " + ", ".join(f"{sort} {found}/{n}" for sort, (found, n) in row.by_sort.items()))
    lines += [f"  false alarm {text}" for text in row.false_alarms]
    lines += [f"  missed {text}" for text in row.misses]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure filters on planted defects.")
    parser.add_argument("filter", nargs="*", help="only these; without any, all that are installed")
    parser.add_argument("--seed", type=int, default=0, help="of what is planted")
    parser.add_argument("--examples", type=int, default=5, help="false alarms and misses to show of each filter")
    parser.add_argument("--data", type=Path, metavar="FILE", help="write the data there, and keep it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_intermixed_args(arguments)
    registry = load_registry()
    known = registry.names("filter")
    if unknown := sorted(set(options.filter) - set(known)):
        parser.error(f"unknown filter {', '.join(unknown)}; known are {', '.join(known)}")
    suites = [find_suite(name, registry, RunContext(components=registry)) for name in SUITES]
    rows = real_rows(suites)
    lines, plants = plant(rows, [item for suite in suites for item in suite.items], options.seed)
    console = Console(width=120, highlight=False, markup=False, emoji=False, soft_wrap=True)
    planted = ", ".join(f"{kind} {count}" for kind, count in Counter(one.kind for one in plants.values()).items())
    console.print(f"{len(rows)} real rows; planted: {planted}")
    with tempfile.TemporaryDirectory() as folder:
        file = options.data or Path(folder) / "dirty.jsonl"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        started = time.perf_counter()
        read = list(read_records(str(file), layout="any"))
        seconds = time.perf_counter() - started
    records = [row for row in read if isinstance(row, Record)]
    found = [reading([row for row in read if isinstance(row, BadRow)], plants, seconds, options.examples)]
    for name in options.filter or FILTERS:
        if name not in known:
            console.print(f"{name} is not installed")
            continue
        found.append(measure(name, records, plants, registry, options.examples))
    console.print(table(found))
    for row in found:
        console.print(details(row))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
