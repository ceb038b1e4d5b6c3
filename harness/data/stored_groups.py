"""Groups that a run stored, as records: each answer with the reward that training saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.data.record import Answer, Record
from harness.data.rows import RawRow
from harness.data.tables import arrow_errors
from harness.errors import ConfigError
from harness.records import read_groups
from harness.store import RunStore
from harness.training_data import judged_rounds
from harness.types import ScoredGroup

GROUP_COLUMNS = {"group", "prompt_id", "prompt", "prompt_token_ids", "text", "reward"}
"""By which a file of groups is told from other Parquet files."""


def run_folder(name: str, runs: Path) -> Path | None:
    """The folder of a run that is given by its name or its folder, None if there is none."""
    return next((folder for folder in (Path(name), runs / name) if RunStore.exists(folder)), None)


def run_files(folder: Path, round_number: str) -> list[tuple[int, Path]]:
    """The rounds of a run that have scored groups, or that one, each with its file. Raises HarnessError."""
    store = RunStore.open(folder)
    if round_number and not round_number.isdecimal():
        remedy = f"Write the number of a round: {folder}:1."
        raise ConfigError(f"{round_number!r} is no round", where=str(folder), remedy=remedy)
    known = sorted(index for index, step in store.entries if step == "judge")
    rounds = judged_rounds(store, [int(round_number)] if round_number else known)
    return [(index, folder / str(store.entries[index, "judge"].artifact)) for index in rounds]


def raw_run(folder: Path, round_number: str) -> Iterator[RawRow]:
    """The groups of each round, with the round's number. Raises StoreError for a round that is not what was stored."""
    store = RunStore.open(folder)
    place = end = 0
    for index, path in run_files(folder, round_number):
        groups = store.load(index, "judge", read_groups)
        end += path.stat().st_size
        for group in groups:
            place += 1
            yield RawRow(place, (index, group), end)


def raw_groups(path: Path) -> Iterator[RawRow]:
    with arrow_errors(path, "file of stored groups"):
        groups = read_groups(path)
    end = path.stat().st_size
    for place, group in enumerate(groups, start=1):
        yield RawRow(place, (None, group), end)


def record_of_group(scored: ScoredGroup, round_number: int | None, source: str, place: int) -> Record:
    group = scored.group
    answers = tuple(Answer(c.text, reward) for c, reward in zip(group.completions, scored.rewards, strict=True))
    extra = {"policy_version": group.policy_version} | ({} if round_number is None else {"round": round_number})
    return Record(group.prompt, answers, "group", source, place, extra)
