"""Files of data mixed into one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.data.mixing import MixConfig, apportion, drawn, from_easy, in_order, largest, measure, shares
from harness.data.row_files import good_records, line_of, origin_of, require_writable, write_lines
from harness.errors import ConfigError
from harness.protocols import Progress


@dataclass(frozen=True)
class Part:
    """A source of the mixture. `share` is what it was to be, `rows` what it has, `taken` what is in the mixture."""

    source: str
    share: float
    rows: int
    taken: int


@dataclass(frozen=True)
class MixReport:
    """What was mixed."""

    settings: Mapping[str, Any]
    rows: int
    parts: tuple[Part, ...]
    shrunk: int | None = None
    """The size that was asked for, where there are too few rows to meet the weights at it."""


@dataclass
class _Read:
    """A source, in memory."""

    lines: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """Of each row what it says, whatever it says of where it is from, and how often that was before."""
    measures: list[float] = field(default_factory=list)


def mix_files(sources: Sequence[str], out: Path, config: MixConfig, progress: Progress) -> MixReport:
    """Write the mixture of `sources` to `out`. Raises ConfigError before that for rows that cannot be read or lack
    what the curriculum goes by, and for a file that is there."""
    require_writable(out)
    if twice := [source for source, count in Counter(sources).items() if count > 1]:
        remedy = "Name it once; --max-repeats and its weight say how much of it there is."
        raise ConfigError(
            "it is named twice, and no row may be in a mixture twice by that", where=twice[0], remedy=remedy
        )
    with progress.task("read") as advance:
        read = [_source(source, config, advance) for source in sources]
    counts = [len(one.lines) for one in read]
    parts = shares(counts, config)
    most = largest(counts, parts, config.max_repeats)
    size = min(config.size or most, most)
    taken = apportion(size, parts)
    rows = [
        (one, row, f"{sources[index]} {one.keys[row]} {turn}")
        for index, one in enumerate(read)
        for row, turn in drawn(one.keys, taken[index], config.seed)
    ]
    order = in_order([key for _, _, key in rows], config.seed)
    if config.curriculum:
        order = from_easy(order, [one.measures[row] for one, row, _ in rows], config.buckets)
    write_lines(out, (rows[place][0].lines[rows[place][1]] for place in order))
    made = zip(sources, parts, counts, taken, strict=True)
    return MixReport(
        config.model_dump(mode="json"),
        size,
        tuple(Part(source, float(part), count, number) for source, part, count, number in made),
        config.size if config.size is not None and config.size > size else None,
    )


def _source(source: str, config: MixConfig, advance: Any) -> _Read:
    read, had = _Read(), Counter[str]()
    for record in good_records(source):
        origin = origin_of(record)
        bare = {key: value for key, value in record.extra.items() if key != "origin"}
        said = hashlib.sha256(line_of(replace(record, extra=bare)).encode()).hexdigest()
        read.lines.append(line_of(replace(record, extra={**bare, "origin": origin})))
        read.keys.append(f"{said} {had[said]}")
        had[said] += 1
        if config.curriculum:
            read.measures.append(measure(record, config.curriculum))
        advance()
    return read
