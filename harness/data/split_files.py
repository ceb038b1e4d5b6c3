"""A file of data split into one a side, in two passes: one finds the clusters, one writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.data.record import Record
from harness.data.row_files import good_records, line_of
from harness.data.splitting import (
    Assignment,
    Clusters,
    SplitConfig,
    assign,
    cluster_key,
    compared,
    crossing,
    near_pairs,
    require_same,
    wording,
)
from harness.durable import require_new, written_aside
from harness.errors import ConfigError, HarnessError
from harness.jsonl import read_text
from harness.protocols import Progress
from harness.types import Prompt

REPORT = "split.json"
NEAR_LIMIT = 100_000
"""Distinct prompts among which near copies are looked for: the search is exact, and holds all of them."""


@dataclass
class Side:
    """What fell on one side."""

    rows: int = 0
    prompts: int = 0
    clusters: int = 0
    words: int = 0
    """Of all that is asked and answered, but for system messages."""
    kinds: dict[str, int] = field(default_factory=dict)
    worth: float | None = None
    """Mean worth of answers that are labelled or rewarded, None where none is."""


@dataclass(frozen=True)
class SplitReport:
    """What a split made of its input. `input` is the sha256 (hex) of its rows."""

    source: str
    settings: Mapping[str, Any]
    input: str
    sides: Mapping[str, Side]
    exact_across: int
    """Prompts that are on two sides: none, ever."""
    near_across: int | None
    """Pairs of prompts on two sides that ask nearly the same; None where there are too many prompts to look."""
    like: Mapping[str, Any] | None = None
    """The earlier split, and what it held in place."""


@dataclass
class _Read:
    """What the first pass found."""

    clusters: Clusters
    prompts: dict[str, Prompt] | None
    """By their words; None once there are more than NEAR_LIMIT."""
    digest: str


def split_file(
    source: str, out: Path, config: SplitConfig, progress: Progress, *, like: Path | None = None
) -> SplitReport:
    """Write `out`/SIDE.jsonl of every side, and `out`/split.json.

    With `like`, an earlier split's folder, its prompts stay on their sides. Raises ConfigError before anything is
    written, for rows that cannot be read or lack the column, too many prompts to find near copies among, an earlier
    split that was made otherwise, and a folder that is there.
    """
    require_new(out)
    earlier = read_split(like, config) if like else None
    read = _clusters(source, config, progress)
    pairs: list[tuple[str, str]] | None = None
    if read.prompts is not None:
        with progress.task("near copies", total=1) as advance:
            pairs = near_pairs(read.prompts)
            advance()
    if config.by == "near":
        if pairs is None:
            raise ConfigError(
                f"more than {NEAR_LIMIT} distinct prompts, too many to find near copies among",
                where=source,
                remedy="Take the near copies out first (`harness data clean`), or split by cluster.",
            )
        for one, other in pairs:
            read.clusters.join_keys(f"words {one}", f"words {other}")
    made = assign(read.clusters, config, earlier)
    with written_aside(out) as draft:
        report = _write(source, draft, config, read, made, pairs, progress)
        if like is not None:
            held = {"kept": made.kept, "would_have_moved": made.would_have_moved, "bridged": made.bridged}
            report = replace(report, like={"folder": str(like), **held})
        (draft / REPORT).write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def read_split(folder: Path, config: SplitConfig) -> dict[str, str]:
    """Side by `Prompt.question` of an earlier split. Raises ConfigError if it is none, or was made otherwise."""
    place = folder / REPORT
    try:
        stored = json.loads(read_text(place))
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error.msg}", where=str(place), remedy="Name the folder of a split.") from None
    require_same(config, stored.get("settings") if isinstance(stored, dict) else None, where=str(place))
    sides: dict[str, str] = {}
    for side in config.ratios:
        path = folder / f"{side}.jsonl"
        if not path.is_file():
            raise ConfigError("it is missing", where=str(path), remedy="Name the folder of a whole split.")
        for record in good_records(str(path)) if path.stat().st_size else ():
            if sides.setdefault(compared(record).question, side) != side:
                raise ConfigError("its prompt is on another side as well", where=record.where, remedy="Split anew.")
    return sides


def _clusters(source: str, config: SplitConfig, progress: Progress) -> _Read:
    clusters, hasher = Clusters(), hashlib.sha256()
    prompts: dict[str, Prompt] | None = {}
    for record, line in _lines(source, progress, "read"):
        hasher.update(line.encode())
        prompt = compared(record)
        clusters.add(prompt.question, cluster_key(record, prompt, config.by))
        if prompts is not None:
            prompts.setdefault(wording(prompt), prompt)
            prompts = prompts if len(prompts) <= NEAR_LIMIT else None
    return _Read(clusters, prompts, hasher.hexdigest())


def _lines(source: str, progress: Progress, description: str) -> Iterator[tuple[Record, str]]:
    with progress.task(description) as advance:
        for record in good_records(source):
            yield record, line_of(record)
            advance()


def _write(
    source: str,
    draft: Path,
    config: SplitConfig,
    read: _Read,
    made: Assignment,
    pairs: list[tuple[str, str]] | None,
    progress: Progress,
) -> SplitReport:
    hasher = hashlib.sha256()
    sides = {side: Side() for side in config.ratios}
    worths: dict[str, list[float]] = {side: [0.0, 0.0] for side in sides}
    names: dict[str, set[int]] = {side: set() for side in sides}
    seen: dict[str, str] = {}
    across: set[str] = set()
    by_words: dict[str, set[str]] = {}
    with ExitStack() as files:
        handles = {side: files.enter_context((draft / f"{side}.jsonl").open("w", encoding="utf-8")) for side in sides}
        for record, line in _lines(source, progress, "write"):
            hasher.update(line.encode())
            prompt = compared(record)
            question = prompt.question
            if question not in made.sides:
                break  # the file has changed, which its digest says below
            side = made.sides[question]
            handles[side].write(line)
            count = sides[side]
            count.rows += 1
            count.prompts += question not in seen
            count.words += len(record.text.split())
            count.kinds[record.kind] = count.kinds.get(record.kind, 0) + 1
            names[side].add(read.clusters.name(question))
            if seen.setdefault(question, side) != side:
                across.add(question)
            if pairs is not None:
                by_words.setdefault(wording(prompt), set()).add(side)
            if record.kind == "label":
                worths[side][0] += sum(answer.worth or 0.0 for answer in record.answers)
                worths[side][1] += len(record.answers)
    if hasher.hexdigest() != read.digest:
        raise HarnessError("it changed while it was read", where=source, remedy="Split it when it is at rest.")
    for side, count in sides.items():
        count.clusters = len(names[side])
        count.worth = worths[side][0] / worths[side][1] if worths[side][1] else None
    near = None if pairs is None else crossing(pairs, {words: sorted(on) for words, on in by_words.items()})
    return SplitReport(source, config.model_dump(mode="json"), read.digest, sides, len(across), near)
