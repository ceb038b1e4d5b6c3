"""Preference data from a run, a file of groups, or labelled answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data.pairing import (
    Candidates,
    LengthBias,
    PairingConfig,
    balanced,
    length_bias,
    make_pairs,
    of_group,
    of_labels,
)
from harness.data.row_files import good_records, line_of, require_writable, write_lines
from harness.errors import ConfigError
from harness.protocols import Progress, RunContext
from harness.records import read_groups
from harness.store import RunStore
from harness.training_data import file_groups, judged_rounds


@dataclass(frozen=True)
class PairsReport:
    """What pairs were made. `before` is the length bias of all that were found, `after` of those that were written."""

    source: str
    prompts: int
    """Groups, or prompts with labelled answers."""
    without: int
    """Those of which no pair was found."""
    truncated: int
    """Answers that were cut off, which are never chosen."""
    before: LengthBias
    after: LengthBias

    def as_json(self) -> dict[str, Any]:
        biases = {name: getattr(self, name) for name in ("before", "after")}
        return asdict(self) | {
            name: asdict(bias) | {"chosen_longer": bias.chosen_longer} for name, bias in biases.items()
        }


def pair_file(
    source: Path,
    out: Path,
    config: PairingConfig,
    progress: Progress,
    *,
    rounds: Sequence[int] = (),
    labels: bool = False,
) -> PairsReport:
    """Write preference rows to `out`, each with its margin and where it is from.

    A run gives the rounds that are named, its last scored one for none. Raises ConfigError before anything is written:
    for a source that cannot be read, and where there is no pair.
    """
    require_writable(out)
    with progress.task("read") as advance:
        candidates = []
        for one in _labelled(source, rounds) if labels else _scored(source, rounds, config):
            candidates.append(one)
            advance()
    found = make_pairs(candidates, config)
    kept = balanced(found) if config.balance_length else found
    if not kept:
        raise ConfigError(
            f"none of {len(candidates)} prompts has two answers to prefer one of" if not found else "no pair is left",
            where=str(source),
            remedy="Lower --min-margin, or take data with better and worse answers to one prompt.",
        )
    write_lines(out, (line_of(pair.record) for pair in kept))
    return PairsReport(
        str(source),
        len(candidates),
        sum(not make_pairs([one], config) for one in candidates),
        sum(len(one.cut) for one in candidates),
        length_bias(found),
        length_bias(kept),
    )


def _scored(source: Path, rounds: Sequence[int], config: PairingConfig) -> Iterator[Candidates]:
    if (source / "run.json").is_file():
        store = RunStore.open(source)
        for index in judged_rounds(store, rounds):
            for place, group in enumerate(store.load(index, "judge", read_groups), start=1):
                yield of_group(group, config, {"source": str(source), "place": place, "round": index})
        return
    _no_rounds(source, rounds)
    if source.suffix != ".parquet" or not source.is_file():
        remedy = "Name a run (see `harness runs`) or its groups.parquet, or say --from-labels."
        raise ConfigError("there is no such run, nor file of groups", where=str(source), remedy=remedy)
    for place, group in enumerate(file_groups(source, RunContext()), start=1):
        yield of_group(group, config, {"source": str(source), "place": place})


def _labelled(source: Path, rounds: Sequence[int]) -> list[Candidates]:
    _no_rounds(source, rounds)
    return of_labels(good_records(str(source)))


def _no_rounds(source: Path, rounds: Sequence[int]) -> None:
    if rounds:
        raise ConfigError("this is no run, so it has no rounds", where=str(source), remedy="Leave --round out.")
