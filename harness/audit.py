"""Auditing judges: pairs of answers to one prompt for a person to choose from, who does not know what the judges said.

Pairs, not single answers: people compare more consistently than they grade, and a choice asks the same of every judge,
whatever its scale. They come from a round's samples, or from a suite as the round's candidate and the incumbent before
it answered. A pair's sides and the order of pairs are random, by seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pydantic import Field

from harness.durable import make_folder, write_text
from harness.errors import ConfigError, StoreError, did_you_mean
from harness.jsonl import read_text
from harness.measuring import round_answers, round_report, slug
from harness.plugins import validate
from harness.records import read_groups
from harness.specs import Config
from harness.store import RunStore
from harness.training_data import judged_rounds
from harness.types import Prompt, ScoredGroup, digest

Values = tuple[float | None, float | None]


class AuditSettings(Config):
    """What an audit is drawn from, and how. It is stored when the audit begins."""

    round: int
    suite: str | None = None
    """The suite whose items are compared; None for what the round was trained on."""
    judge: str | None = None
    """The judge whose verdicts are to be met in proportion; None for the reward that is made of all."""
    n: int = Field(default=40, ge=1)
    seed: int = 0


@dataclass(frozen=True)
class Pair:
    """Two different answers to a prompt as they are shown. `scores` and `rewards` are of (a, b)."""

    prompt: Prompt
    a: str
    b: str
    swapped: bool
    """True if a is the later of the two: the candidate's, or the one sampled later."""
    scores: Mapping[str, Values]
    rewards: Values

    @property
    def id(self) -> str:
        """Identity of what is shown."""
        return digest([self.prompt.hash, self.a, self.b])[:16]

    @property
    def cluster(self) -> str:
        return self.prompt.cluster or self.prompt.id

    def values(self, judge: str | None) -> Values:
        """What a judge (None: the reward) says of both."""
        return self.rewards if judge is None else self.scores.get(judge, (None, None))


@dataclass(frozen=True)
class Audit:
    """An audit under way. `pairs` are those to be judged by a person, `population` all that they stand for."""

    folder: Path
    name: str
    settings: AuditSettings
    population: tuple[Pair, ...]
    pairs: tuple[Pair, ...]
    fingerprint: str

    @property
    def answers(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    @property
    def summary(self) -> Path:
        return self.folder / f"{self.name}.summary.json"


def outcome(values: Values) -> str | None:
    """Which of two values is the better: "a", "b" or "tie"; None if one is not known."""
    a, b = values
    if a is None or b is None:
        return None
    return "tie" if a == b else "a" if a > b else "b"


# ---------------------------------------------------------------- beginning and going on


def open_audit(
    run: Path,
    *,
    name: str | None = None,
    round: int | None = None,
    suite: str | None = None,
    judge: str | None = None,
    n: int | None = None,
    seed: int | None = None,
    must_exist: bool = False,
) -> Audit:
    """The audit of that name, begun if it is not there; what is not given is as it was begun, or the default.

    Its name is by default that of the suite (or `training`) and the round. Raises ConfigError if it was begun
    with other settings, if there is no such round, suite or judge, if no judge was asked, or if no two answers differ.
    """
    store = RunStore.open(run)
    given = {"round": round, "suite": suite, "judge": judge, "n": n, "seed": seed}
    given = {key: value for key, value in given.items() if value is not None}
    if name is None:
        given["round"] = _round(store, round, suite)
        name = f"{slug(suite or 'training')}-{given['round']:03d}"
    if name != slug(name):
        raise ConfigError(f"{name!r} cannot be a file's name", where="--name", remedy="Use letters, digits and -_.")
    folder = store.folder / "audits"
    plan = folder / f"{name}.plan.json"
    if plan.exists():
        settings = _stored(plan, given)
    elif must_exist:
        begun = sorted(path.name.removesuffix(".plan.json") for path in folder.glob("*.plan.json"))
        remedy = f"Begun: {', '.join(begun) or 'none'}."
        raise ConfigError(f"no audit {name!r} was begun", where=str(store.folder), remedy=remedy)
    else:
        settings = validate(AuditSettings, {"round": _round(store, round, suite), **given}, where="harness audit")
    population, fingerprint = _population(store, settings)
    audit = Audit(folder, name, settings, population, draw(population, settings), fingerprint)
    if not plan.exists():
        make_folder(folder)
        write_text(plan, settings.model_dump_json(indent=1) + "\n")
    return audit


def _stored(plan: Path, given: Mapping[str, object]) -> AuditSettings:
    try:
        values = json.loads(read_text(plan))
    except ValueError as error:
        raise StoreError(f"damaged ({error})", where=str(plan), remedy="Restore it, or begin another.") from None
    settings = validate(AuditSettings, values, where=str(plan))
    for key, value in given.items():
        if getattr(settings, key) != value:
            raise ConfigError(
                f"this audit was begun with {key} = {getattr(settings, key)}, not {value}",
                where=str(plan),
                remedy="Leave it out to go on, or begin another with --name.",
            )
    return settings


def _round(store: RunStore, round: int | None, suite: str | None) -> int:
    if suite is None:
        return judged_rounds(store, [] if round is None else [round])[0]
    evaluated = sorted(index for index, step in store.entries if step == "evaluate" and index > 0)
    if not evaluated or round not in (None, *evaluated):
        raise ConfigError(
            "no candidate was evaluated" if round is None else f"round {round} has no candidate that was evaluated",
            where=str(store.folder),
            remedy=f"Rounds that have: {', '.join(map(str, evaluated)) or 'none'}.",
        )
    return evaluated[-1] if round is None else round


# ---------------------------------------------------------------- what there is to compare


def _population(store: RunStore, settings: AuditSettings) -> tuple[tuple[Pair, ...], str]:
    """Every pair of different answers of which the judge (or the reward) knows both, and what they were measured by."""
    target, *_ = suites = [*store.identity["suites"]]
    if settings.suite is None:
        groups = store.load(settings.round, "judge", read_groups)
        found = [pair for group in groups for pair in _siblings(group, settings.seed)]
        fingerprint = str(store.identity["suites"][target]["train"])
    else:
        if settings.suite not in suites:
            remedy = did_you_mean(settings.suite, suites)
            raise ConfigError(f"no suite {settings.suite!r} in this run", where=str(store.folder), remedy=remedy)
        found = _rivals(store, settings.round, settings.suite, settings.seed)
        report = round_report(store, settings.round).suite(settings.suite)
        fingerprint = report.fingerprint if report else ""
    judges = sorted({name for pair in found for name in pair.scores})
    if settings.judge is not None and found and settings.judge not in judges:
        remedy = did_you_mean(settings.judge, judges)
        raise ConfigError(f"no judge {settings.judge!r} was asked", where=str(store.folder), remedy=remedy)
    known = {pair.id: pair for pair in found if outcome(pair.values(settings.judge)) is not None}
    if not known:
        raise ConfigError(
            "no two answers to a prompt differ and are both scored",
            where=f"{store.folder}, round {settings.round}",
            remedy="Choose another round, or compare what a suite's items were answered with --suite.",
        )
    if not judges:
        raise ConfigError(
            "these came with their rewards, and no judge was asked",
            where=f"{store.folder}, round {settings.round}",
            remedy="Choose a round that was sampled and judged, or a suite with --suite.",
        )
    return tuple(known.values()), fingerprint


def _siblings(scored: ScoredGroup, seed: int) -> list[Pair]:
    """The pairs within a group, of which equal texts are one."""
    texts = [completion.text for completion in scored.group.completions]
    distinct = [index for index, text in enumerate(texts) if text not in texts[:index]]
    return [p for i, j in combinations(distinct, 2) if (p := _pair((scored, i), (scored, j), seed))]


def _rivals(store: RunStore, index: int, suite: str, seed: int) -> list[Pair]:
    """What the incumbent before the round and its candidate answered to the same item in the same epoch."""
    standing = store.incumbent_round(upto=index - 1)
    before, after = (round_answers(store, i, suite) for i in (standing, index))
    later = {scored.group.prompt.hash: scored for scored in after}
    return [
        pair
        for scored in before
        if (rival := later.get(scored.group.prompt.hash)) is not None
        for epoch in range(min(len(scored.rewards), len(rival.rewards)))
        if (pair := _pair((scored, epoch), (rival, epoch), seed))
    ]


def _pair(first: tuple[ScoredGroup, int], second: tuple[ScoredGroup, int], seed: int) -> Pair | None:
    """Both on random sides; None if they are the same text."""
    prompt = first[0].group.prompt
    texts = [scored.group.completions[index].text for scored, index in (first, second)]
    if texts[0] == texts[1]:
        return None
    swapped = random.Random(f"{seed}/side/{digest([prompt.hash, *texts])}").random() < 0.5
    (left, i), (right, j) = (second, first) if swapped else (first, second)
    a = {score.judge: score.value for score in left.scores[i]}
    b = {score.judge: score.value for score in right.scores[j]}
    scores = {name: (a[name], b[name]) for name in a if name in b}
    rewards = (left.rewards[i], right.rewards[j])
    return Pair(prompt, left.group.completions[i].text, right.group.completions[j].text, swapped, scores, rewards)


# ---------------------------------------------------------------- drawing


def draw(population: Sequence[Pair], settings: AuditSettings) -> tuple[Pair, ...]:
    """`n` pairs, in random order, stratified by what the judge says: which is better, by how much (in terciles), and in
    which category of prompts.

    Systematic sampling (Cochran 1977, chapter 8) of the pairs in the order of their strata: every stratum is met in
    proportion, and every pair is as likely as any other, so what is counted on the sample needs no weights.
    """
    chance = random.Random(f"{settings.seed}/draw")
    ordered = sorted(population, key=lambda pair: pair.id)
    chance.shuffle(ordered)
    margins = sorted(m for pair in ordered if (m := _margin(pair, settings.judge)) > 0)
    cuts = [margins[len(margins) * third // 3] for third in (1, 2)] if margins else []

    def stratum(pair: Pair) -> tuple[str, int, str]:
        margin = _margin(pair, settings.judge)
        category = pair.prompt.metadata.get("category", "")
        return str(outcome(pair.values(settings.judge))), sum(margin >= cut for cut in cuts), category

    ordered.sort(key=stratum)
    count = min(settings.n, len(ordered))
    start = chance.randrange(len(ordered))
    drawn = [ordered[(start + number * len(ordered)) // count] for number in range(count)]
    chance.shuffle(drawn)
    return tuple(drawn)


def _margin(pair: Pair, judge: str | None) -> float:
    a, b = pair.values(judge)
    return abs(a - b) if a is not None and b is not None else 0.0
