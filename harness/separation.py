"""What may not be trained on, said or taken out before anything is sampled: what is excluded, and what is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.config import LoopConfig
from harness.errors import ConfigError
from harness.leakage import Leak, LeakIndex, LeakKind
from harness.origins import ExampleOrigin, row_origin, row_places
from harness.protocols import Progress, RunContext, Suite
from harness.training_data import file_examples
from harness.types import Prompt

SAYING: Mapping[LeakKind, str] = {
    "prompt": "asks what {} asks",
    "near": "asks nearly what {} asks",
    "ngram": "shares a long passage with {}",
}
"""What a leak of each kind is, of an item and a training prompt."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of a file that a stage trains on."""

    prompt: Prompt
    answers: Sequence[str]
    origin: ExampleOrigin


TrainingFiles = Mapping[str, Sequence[FileRow]]


def training_files(config: LoopConfig, context: RunContext) -> TrainingFiles:
    """The rows of every file that a stage names. Raises ConfigError for one that is wrong or empty."""
    files = {}
    for data in dict.fromkeys(stage.data for stage in config.stages if stage.data is not None):
        examples = file_examples(Path(data), context)
        if not examples:
            raise ConfigError("it holds no row", where=data, remedy="Write rows to train on.")
        places = row_places(Path(data), len(examples))
        files[data] = [
            FileRow(prompt, answers, row_origin(prompt, data, place))
            for (prompt, answers), place in zip(examples, places, strict=True)
        ]
    return files


def without_excluded(config: LoopConfig, suites: Sequence[Suite], files: TrainingFiles) -> tuple[Suite, ...]:
    """The suites without training prompts that are excluded. Raises ConfigError for an entry that matches nothing there
    and in no file."""
    excluded = dict.fromkeys(config.data.exclude, False)

    def matched(origin: ExampleOrigin) -> bool:
        found = [entry for entry in excluded if origin.is_of(entry)]
        excluded.update(dict.fromkeys(found, True))
        return bool(found)

    left = []
    for suite in suites:
        train = [p for p in suite.train if not matched(ExampleOrigin(p.id, suite.name))] if excluded else suite.train
        left.append(replace(suite, train=tuple(train)))
    for row in (row for rows in files.values() for row in rows):
        matched(row.origin)
    if idle := [entry for entry, found in excluded.items() if not found]:
        raise ConfigError(
            f"{idle[0]!r} is nothing that is trained on",
            where="data.exclude",
            remedy="Name a training prompt, a suite, a stage's FILE or FILE:LINE, or what its rows were cleaned from.",
        )
    return tuple(left)


@dataclass(frozen=True, slots=True)
class Leaked:
    """A training prompt and the first item that it repeats. `place` is its suite or file."""

    prompt: Prompt
    place: str
    leak: Leak

    @property
    def sentence(self) -> str:
        of = f"training prompt {self.prompt.id!r} of {self.place}"
        return f"item {self.leak.item!r} {SAYING[self.leak.kind].format(of)}"


def without_leaks(
    config: LoopConfig, suites: Sequence[Suite], files: TrainingFiles, progress: Progress
) -> tuple[Suite, ...]:
    """The suites without training prompts that one of them evaluates on. Raises ConfigError for the first such prompt
    where leakage is refused, and where dropping them leaves a stage nothing to draw.

    Rows of files stay here: the data step of their round drops them.
    """
    replayed = {name for stage in config.stages for name in stage.replay}
    training = [suite for suite in suites if suite is suites[0] or suite.name in replayed]
    found = list(progress.track(_leaks(suites, training, config, files), description="held-out items in training data"))
    if not found:
        return tuple(suites)
    if config.data.leakage == "refuse":
        more = f" ({len(found) - 1} more training prompts repeat an item)" if len(found) > 1 else ""
        file = "".join(f", or `harness data clean {f} --against SUITE`" for f in files if f == found[0].place)
        raise ConfigError(
            f"{found[0].sentence}{more}",
            where=f"suite {found[0].leak.suite}",
            remedy=f'What is evaluated must be held out: leave it out with [data] leakage = "drop"{file}.',
        )
    for place, count in Counter(leaked.place for leaked in found).items():
        progress.note(f"{place}: {count} training prompts left out, which repeat held-out items")
    gone = {(leaked.place, leaked.prompt.id) for leaked in found}
    left = tuple(
        replace(suite, train=tuple(p for p in suite.train if (_place(suite), p.id) not in gone)) for suite in suites
    )
    drawn = {left[0].name, *replayed} if any(stage.data is None for stage in config.stages) else replayed
    for suite in left:
        if suite.name in drawn and not suite.train:
            raise ConfigError(
                "every training prompt repeats a held-out item", where=_place(suite), remedy="Use other prompts."
            )
    return left


def _leaks(
    suites: Sequence[Suite], training: Sequence[Suite], config: LoopConfig, files: TrainingFiles
) -> Iterator[Leaked]:
    index = LeakIndex(suites)
    for suite in training:
        for prompt in suite.train:
            if leaks := index.leaks(prompt, [] if prompt.reference is None else [prompt.reference]):
                yield Leaked(prompt, _place(suite), leaks[0])
    for data, rows in files.items():
        for row in rows:
            excluded = any(row.origin.is_of(entry) for entry in config.data.exclude)
            if not excluded and (leaks := index.leaks(row.prompt, row.answers)):
                yield Leaked(row.prompt, data, leaks[0])


def _place(suite: Suite) -> str:
    return f"suite {suite.name}"
