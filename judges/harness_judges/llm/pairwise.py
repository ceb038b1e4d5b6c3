"""`llm_pairwise`: which of two answers is better, asked in both orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from harness.protocols import RunContext
from harness.types import Group, Preference, Prompt, Score
from harness_judges.llm.asking import Asker, Settled, paid_for, read_json, reply_schema
from harness_judges.llm.prompts import fence, load_template, question_of
from harness_judges.llm.provider import Reply, Request
from harness_judges.llm.settings import PairwiseConfig

NAME = "llm_pairwise"
Winner = Literal["A", "B", "tie"]
POINTS = {"win": 1.0, "tie": 0.5, "flip": 0.5, "loss": 0.0}


@dataclass(frozen=True)
class Comparison:
    """What became of two answers. `outcome` is the first one's: `win`, `loss`, `tie`, `flip` (the two orders do not
    agree, which is a tie), or `failed`."""

    outcome: str
    asked: tuple[Settled[Winner], ...] = ()

    @property
    def reversed(self) -> str:
        return {"win": "loss", "loss": "win"}.get(self.outcome, self.outcome)


class PairwiseJudge:
    """A judge that likes the answer it is shown first, as many do, is asked twice and contradicts itself."""

    def __init__(self, config: PairwiseConfig, context: RunContext) -> None:
        self.config = config
        self.schema = reply_schema({"better": {"enum": ["A", "B", "tie"]}}, reasons=config.reasoning)
        known = ("question", "first", "second", "fields")
        self.template = load_template("pairwise", config.prompt, known=known, needed=known[:3])
        self.asker = Asker(NAME, config, context)
        self.outcomes: Counter[str] = Counter()
        self.named_first = self.named = 0

    # ------------------------------------------------------------ the judge

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        """Won comparisons, ties counting half, as a share of all that the answer was in."""
        by_group: list[list[tuple[int, int, Comparison]]] = [[] for _ in groups]
        for (number, i, j), comparison in self._compared(groups):
            if comparison.asked:
                self.outcomes[comparison.outcome] += 1
            by_group[number].append((i, j, comparison))
        return [
            tuple(self._verdict(index, compared) for index in range(len(group.completions)))
            for group, compared in zip(groups, by_group, strict=True)
        ]

    def compare(self, groups: Sequence[Group]) -> list[tuple[Preference, ...]]:
        """Between siblings; what was asked for the scores is not asked again."""
        if self.config.against != "siblings":
            return [()] * len(groups)
        found: list[list[Preference]] = [[] for _ in groups]
        for (number, i, j), comparison in self._compared(groups):
            if comparison.outcome in ("win", "loss"):
                better, worse = (i, j) if comparison.outcome == "win" else (j, i)
                found[number].append(Preference(NAME, better, worse))
        return [tuple(preferences) for preferences in found]

    def figures(self) -> dict[str, float]:
        """`flip_rate` and `tie_rate` of the comparisons that were asked for and came to something, `first_rate`: how
        often the answer shown first was named, of all replies that named one (0.5 is fair), and what was asked."""
        decided = sum(self.outcomes[outcome] for outcome in POINTS)
        rates = {f"{name}_rate": self.outcomes[name] / decided for name in ("flip", "tie")} if decided else {}
        first = {"first_rate": self.named_first / self.named} if self.named else {}
        return {**rates, **first, **self.asker.figures()}

    def close(self) -> None:
        self.asker.close()

    # ------------------------------------------------------------ comparisons

    def opponents(self, group: Group) -> list[tuple[int, int]]:
        """Pairs of completions by index; -1 is the reference."""
        count = len(group.completions)
        if self.config.against == "reference":
            return [(i, -1) for i in range(count)] if group.prompt.reference else []
        if self.config.pairs == "all" or count < 3:
            return list(combinations(range(count), 2))
        return [(i, (i + 1) % count) for i in range(count)]

    def _compared(self, groups: Sequence[Group]) -> Iterator[tuple[tuple[int, int, int], Comparison]]:
        """((number of the group, i, j), what became of i and j)."""
        pairs = [(number, i, j) for number, group in enumerate(groups) for i, j in self.opponents(group)]
        texts = [(groups[n].prompt, _text(groups[n], i), _text(groups[n], j)) for n, i, j in pairs]
        return zip(pairs, self.compare_texts(texts), strict=True)

    def compare_texts(self, pairs: Sequence[tuple[Prompt, str, str]]) -> list[Comparison]:
        """Equal texts are a tie, and an empty one loses, without a question."""
        asked = [[] if _plain(a, b) else [self._ask(p, a, b), self._ask(p, b, a)] for p, a, b in pairs]
        settled = iter(self.asker.settle([request for both in asked for request in both], self.read))
        result = []
        for (_, a, b), both in zip(pairs, asked, strict=True):
            if not both:
                result.append(Comparison(_plain(a, b)))
                continue
            there, back = next(settled), next(settled)
            self.named_first += (there.value == "A") + (back.value == "A")
            self.named += (there.value in ("A", "B")) + (back.value in ("A", "B"))
            result.append(Comparison(_outcome(there.value, back.value), (there, back)))
        return result

    def _ask(self, prompt: Prompt, first: str, second: str) -> Request:
        values = {
            "question": fence(question_of(prompt), "request"),
            "first": fence(first, "answer A"),
            "second": fence(second, "answer B"),
            "fields": ", ".join(self.schema["required"]),
        }
        return Request(self.template.fill(values), self.config.max_tokens, self.schema, (), self.config.temperature)

    def read(self, request: Request, reply: Reply) -> Winner:
        winner: Winner = read_json(reply, self.schema)["better"]
        return winner

    def _verdict(self, index: int, compared: Sequence[tuple[int, int, Comparison]]) -> Score:
        own = [(c.outcome if i == index else c.reversed, c) for i, j, c in compared if index in (i, j)]
        if not own:
            what = "no reference answer" if self.config.against == "reference" else "no sibling"
            return Score.abstained(NAME, f"there is {what} to compare with")
        # A comparison's cost is with the first of the two.
        paid = paid_for([settled for i, j, c in compared if i == index for settled in c.asked])
        for outcome, comparison in own:
            if outcome == "failed":
                why = next(one.why for one in comparison.asked if one.value is None)
                return Score(NAME, None, "failed", explanation=why, **paid)
        label = own[0][0] if len(own) == 1 else ""
        counted = Counter(outcome for outcome, _ in own)
        shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
        value = sum(POINTS[outcome] for outcome, _ in own) / len(own)
        return Score(NAME, value, label=label, explanation=shown, **paid)


def _text(group: Group, index: int) -> str:
    return group.prompt.reference or "" if index < 0 else group.completions[index].text


def _plain(a: str, b: str) -> str:
    """The first one's outcome where it is plain to see, else ""."""
    if a.strip() == b.strip():
        return "tie"
    return "" if a.strip() and b.strip() else ("win" if a.strip() else "loss")


def _outcome(there: Winner | None, back: Winner | None) -> str:
    """Of the answer that was A at first and then B."""
    if there is None or back is None:
        return "failed"
    return {("A", "B"): "win", ("B", "A"): "loss", ("tie", "tie"): "tie"}.get((there, back), "flip")
