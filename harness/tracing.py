"""Questions to what is known of trainings: what was trained on a source, what descends from that, and what an adapter
was trained on.

An example counts as trained on when its group was handed to an updater. What the data step dropped does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError
from harness.origins import FILE_LINE
from harness.provenance import Example, Exported, Known, Training
from harness.store import RunStore
from harness.training_data import file_digest
from harness.types import BASE_POLICY

SHORTEST = 6
"""Characters of a version that name it."""


@dataclass(frozen=True)
class Use:
    """A training that read a source, and how many of its examples are of it."""

    training: Training
    examples: int


@dataclass(frozen=True)
class Trace:
    """Who was trained on a source, what descends from them, and what could not be looked into."""

    uses: tuple[Use, ...]
    descendants: tuple[Training, ...]
    exports: tuple[Exported, ...]
    unread: tuple[str, ...]


def trace(known: Known, what: str) -> Trace:
    """Of a prompt id, FILE, FILE:LINE, a suite, `judge:NAME`, `filter:NAME` or `text:WORDS`. Raises ConfigError where
    it names nothing, or a run that nothing was trained on."""
    matches = _matcher(what)
    counted = [Use(t, sum(matches(t, example) for example in t.examples)) for t in known.trainings]
    uses = tuple(use for use in counted if use.examples)
    if not uses and RunStore.exists(Path(what)):
        raise ConfigError(
            "this is a run, and nothing was trained on it as a whole",
            where=what,
            remedy=f"Name one of its adapters, such as {Path(what) / 'rounds' / '001' / 'adapter'}, or a source.",
        )
    first = {use.training.version for use in uses}
    touched = _touched(known.trainings, first)
    read = [use.training for use in uses]
    later = tuple(t for t in known.trainings if t not in read and t.version in touched)
    unread = [*known.unread]
    if what.startswith("text:"):
        lost = [t.where for t in known.trainings if not t.texts_known]
        unread += [f"{where}: what it was trained on is gone or has changed" for where in lost]
    exports = tuple(e for e in known.exports if touched & set(e.versions))
    return Trace(uses, later, exports, tuple(unread))


def _touched(trainings: Sequence[Training], versions: Collection[str]) -> set[str]:
    """These versions, and all that started from one of them or learnt from its answers."""
    touched = set(versions)
    while True:
        reached = {
            t.version for t in trainings if touched & {t.parent, *(example.policy for example in t.examples)}
        } - touched
        if not reached:
            return touched
        touched |= reached


def _matcher(what: str) -> Callable[[Training, Example], bool]:
    kind, _, name = what.partition(":")
    if not what.strip() or (kind in ("judge", "filter") and not name.strip()):
        raise ConfigError(
            f"it names no {kind.strip() or 'source'}", where=f"WHAT {what!r}", remedy="Write e.g. judge:exact."
        )
    if kind == "judge":
        return lambda training, example: name in example.judges or name in training.seated
    if kind == "filter":
        return lambda training, example: name in training.filters or name in example.origin.filters
    if kind == "text":
        words = _plain(name)
        if not words:
            raise ConfigError("there are no words to look for", where=what, remedy="Write text:WORDS.")
        return lambda training, example: words in _plain(example.text)
    line = FILE_LINE.fullmatch(what)
    whole, within = _digest(what), _digest(line["file"]) if line else None

    def matches(training: Training, example: Example) -> bool:
        """By name, or by content where the file now has another name."""
        if example.origin.is_of(what) or whole in training.digests:
            return True
        at = example.origin.lines[0].line if example.origin.lines else None
        return line is not None and within in training.digests and at == int(line["line"])

    return matches


def _digest(file: str) -> str | None:
    return file_digest(Path(file)) if Path(file).is_file() else None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


# ---------------------------------------------------------------- an adapter


def adapter_version(known: Known, what: str) -> str | None:
    """The version that `what` names: a folder of an adapter, or how a version begins. Raises ConfigError where that may
    be several."""
    inside = [t.version for t in known.trainings if Path(what).is_dir() and _is_folder(t, Path(what))]
    begins = [t.version for t in known.trainings if len(what) >= SHORTEST and t.version.startswith(what)]
    found = sorted({*inside, *begins})
    if len(found) > 1:
        shown = ", ".join(version[:12] for version in found)
        raise ConfigError(f"it may be any of {shown}", where=what, remedy="Write more of the version.")
    return found[0] if found else None


def _is_folder(training: Training, folder: Path) -> bool:
    whole = Path(training.where)
    if training.round is not None:
        whole = whole / "rounds" / f"{training.round:03d}" / "adapter"
    return whole.resolve() == folder.resolve()


def chain(known: Known, version: str) -> list[Training]:
    """The trainings that made an adapter, the first of them first. Equal trainings give equal versions: one of each."""
    by_version = {training.version: training for training in reversed(known.trainings)}
    found: list[Training] = []
    while version != BASE_POLICY and version in by_version:
        found.append(by_version[version])
        version = by_version[version].parent
    return found[::-1]


def sources(training: Training) -> dict[str, int]:
    """How many examples of a training are from each suite and each file, with what its rows were cleaned from."""
    names: Counter[str] = Counter()
    for origin in (example.origin for example in training.examples):
        names.update(dict.fromkeys(filter(None, [origin.suite, *(line.file for line in origin.lines)])).keys())
    return dict(names)
