"""What was trained on what: every training under a folder, with the origin of each of its examples.

Most of it is derived from what runs store: groups that were handed to an updater, and the journal. A training without a
loop keeps its origins beside its adapter, since its file may be gone when it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.checkpoints import SEAL
from harness.config import LoopConfig
from harness.data_step import group_places, handed_over, kept_indices
from harness.errors import ConfigError, HarnessError
from harness.jsonl import read_jsonl
from harness.origins import ExampleOrigin, FileLine, row_origin
from harness.plugins import validate
from harness.protocols import RunContext
from harness.records import read_groups
from harness.store import RunStore
from harness.training_data import file_digest, file_examples
from harness.types import BASE_POLICY, Prompt, ScoredGroup

LINEAGE, EXAMPLES = "training.json", "examples.jsonl"
"""What `harness train` leaves beside an adapter: how it was made, and the origin of each example."""


@dataclass(frozen=True, slots=True)
class Example:
    """A group that an updater was given, and where it is from. `text` is all that it asks and answers."""

    origin: ExampleOrigin
    policy: str
    """Version of the policy that answered, `reference` for gold answers and rows of files."""
    judges: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class Training:
    """An adapter, and what it was trained on. `round` is None outside a loop, `outcome` empty where no gate judged."""

    where: str
    round: int | None
    version: str
    parent: str
    outcome: str
    examples: tuple[Example, ...]
    components: Mapping[str, str] = field(default_factory=dict)
    """Origin (distribution and version) of judges and filters that took part, by `judge NAME` and `filter NAME`."""
    seated: tuple[str, ...] = ()
    """Judges that the updater sampled against by itself, members of panels included: all its examples met them."""
    digests: tuple[str, ...] = ()
    """sha256 of the file that was read."""
    texts_known: bool = True

    @property
    def filters(self) -> tuple[str, ...]:
        return tuple(sorted(name.split(" ", 1)[1] for name in self.components if name.startswith("filter ")))


@dataclass(frozen=True)
class Exported:
    """A model that was exported: every adapter version that it holds or goes on from."""

    where: str
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """All trainings and exports that were found, and what could not be read, in words."""

    trainings: tuple[Training, ...]
    exports: tuple[Exported, ...]
    unread: tuple[str, ...]


def survey(folders: Sequence[Path]) -> Known:
    """Everything under these folders. Raises ConfigError for one that is not there."""
    trainings: list[Training] = []
    exports: list[Exported] = []
    unread: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError("no such folder", where=str(folder), remedy="Name the runs' folder with --runs.")
        for path in sorted(folder.rglob("*.json")):
            try:
                if path.name == "run.json":
                    trainings += run_trainings(RunStore.open(path.parent))
                elif path.name == LINEAGE and (path.parent / SEAL).is_file():
                    trainings.append(alone_training(path.parent))
                elif path.name == "lineage.json":
                    exports.append(_exported(path))
            except (
                HarnessError,
                OSError,
                ValueError,
                KeyError,
                TypeError,
            ) as error:
                # It may have been trained on what is asked for, so it is said.
                unread.append(f"{path.parent}: {error}")
    return Known(tuple(trainings), tuple(exports), tuple(unread))


def run_trainings(store: RunStore) -> Iterator[Training]:
    """Of every round whose update made an adapter."""
    identity = store.identity
    config = validate(LoopConfig, identity["config"], where=str(store.folder))
    for index in sorted(i for i, step in store.entries if step == "update"):
        stage = config.stage_of(index)
        commit = store.entry(index, "commit")
        standing = store.incumbent_round(upto=index - 1)
        examples = tuple(_round_examples(store, config, index))
        judges = [name.removeprefix("judge ") for name in identity["components"] if name.startswith("judge ")]
        seated = tuple(sorted(_named(stage.config) & set(judges)))
        used = {f"judge {name}" for example in examples for name in example.judges} | {f"judge {s}" for s in seated}
        used |= {f"filter {use.name}" for use in config.data.filters}
        yield Training(
            where=str(store.folder),
            round=index,
            version=_sealed_version(store.round_folder(index) / "adapter"),
            parent=_sealed_version(store.round_folder(standing) / "adapter") if standing else BASE_POLICY,
            outcome="unfinished" if commit is None else commit.data["outcome"],
            examples=examples,
            components={name: origin for name, origin in identity["components"].items() if name in used},
            seated=seated,
            digests=(identity["data"][f"round {index}"],) if stage.data is not None else (),
        )


def _named(settings: Any) -> set[str]:
    """Every `name` anywhere in settings, as seats of judges have one. It takes no plugin to read, for those of a run
    may be gone."""
    if isinstance(settings, Mapping):
        own = {settings["name"]} if isinstance(settings.get("name"), str) else set()
        return own.union(*map(_named, settings.values()))
    return set().union(*map(_named, settings)) if isinstance(settings, (list, tuple)) else set()


def _round_examples(store: RunStore, config: LoopConfig, index: int) -> Iterator[Example]:
    judged = store.load(index, "judge", read_groups)
    places = group_places(store, index, len(judged))
    target = next(iter(store.identity["suites"]))
    suites = [name or target for name, count, _ in config.sources(index) for _ in range(count)]
    kept = kept_indices(store, index, len(judged))
    for at, scored in zip(kept, handed_over(store, index), strict=True):
        prompt = scored.group.prompt
        if suites:
            origin = ExampleOrigin(prompt.id, suites[at])
        else:
            origin = row_origin(prompt, places[at].file, places[at].line)
        yield example_of(scored, origin)


def example_of(scored: ScoredGroup, origin: ExampleOrigin) -> Example:
    judges = tuple(sorted({score.judge for scores in scored.scores for score in scores if score.value is not None}))
    answers = [completion.text for completion in scored.group.completions]
    return Example(origin, scored.group.policy_version, judges, _text(scored.group.prompt, answers))


def _text(prompt: Prompt, answers: Sequence[str]) -> str:
    return "\n".join([*(str(message.get("content") or "") for message in prompt.messages), *answers])


def alone_training(folder: Path) -> Training:
    """Of an adapter that `harness train` made. Its texts are known while its file or run still is what it was."""
    record = json.loads((folder / LINEAGE).read_text())
    rows = [values for _, values in read_jsonl(folder / EXAMPLES)] if (folder / EXAMPLES).is_file() else []
    examples = tuple(_stored_example(row) for row in rows)
    file = FileLine(str(record["data"]), None)
    if not rows:  # trained before origins were kept: the file is all that is known
        examples = tuple(Example(ExampleOrigin("", lines=(file,)), "", ()) for _ in range(record["groups"]))
    texts = _texts(record, len(examples)) if rows else None
    if texts is not None:
        examples = tuple(
            Example(example.origin, example.policy, example.judges, text)
            for example, text in zip(examples, texts, strict=True)
        )
    sha = record.get("data_sha256")
    seated = [name.removeprefix("judge ") for name in record["components"] if name.startswith("judge ")]
    return Training(
        where=str(folder),
        round=None,
        version=record["version"],
        parent=record["parent"],
        outcome="",
        examples=examples,
        components={k: v for k, v in record["components"].items() if k.startswith(("judge ", "filter "))},
        seated=tuple(seated),
        digests=(sha,) if sha else (),
        texts_known=texts is not None,
    )


def _stored_example(row: Mapping[str, Any]) -> Example:
    lines = tuple(FileLine(file, line) for file, line in row["lines"])
    return Example(
        ExampleOrigin(row["id"], row["suite"], lines, tuple(row["filters"])), row["policy"], tuple(row["judges"])
    )


def stored_example(example: Example) -> dict[str, Any]:
    """A line of the file beside an adapter that `harness train` made: everything but the text."""
    origin = example.origin
    lines = [[line.file, line.line] for line in origin.lines]
    values = {"id": origin.prompt, "suite": origin.suite, "lines": lines, "filters": list(origin.filters)}
    return {**values, "policy": example.policy, "judges": list(example.judges)}


def _texts(record: Mapping[str, Any], count: int) -> list[str] | None:
    """Of what `harness train` read, in order; None where it is gone or another by now."""
    path = Path(record["data"])
    if RunStore.exists(path):
        store = RunStore.open(path)
        texts = [e.text for i in record["rounds"] for e in _round_examples(store, _config(store), i)]
    elif path.is_file() and file_digest(path) == record.get("data_sha256"):
        texts = [_text(prompt, answers) for prompt, answers in file_examples(path, RunContext())]
    else:
        return None
    return texts if len(texts) == count else None


def _config(store: RunStore) -> LoopConfig:
    return validate(LoopConfig, store.identity["config"], where=str(store.folder))


def run_examples(store: RunStore, rounds: Sequence[int]) -> list[Example]:
    """Of the groups that rounds of a run handed to their updaters, in order."""
    return [example for index in rounds for example in _round_examples(store, _config(store), index)]


def _exported(path: Path) -> Exported:
    facts = json.loads(path.read_text())
    return Exported(str(path.parent), (facts["version"], *(step["version"] for step in facts["steps"])))


def _sealed_version(folder: Path) -> str:
    version: str = json.loads((folder / SEAL).read_text())["version"]
    return version
