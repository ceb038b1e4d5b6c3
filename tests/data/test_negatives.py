"""Wrong tool calls are wrong: by hand, and by the judge on every training row of the real data."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from harness.data.mutations import KINDS, mutate, mutate_calls, writer_of
from harness.data.negatives import NegativesConfig, Tally, negatives, of_suite, target_of
from harness.data.record import Answer, Record
from harness.judging import Bench
from harness.plugins import load_registry
from harness.protocols import RunContext, SilentProgress
from harness.tools import ToolCall, parse_calls, write_calls, write_tagged_calls
from harness.types import Completion, Group, Prompt, Sampling
from harness_suites.tool_calls.build import build

TOOLS = json.dumps(
    [
        {
            "name": "pay",
            "parameters": {
                "properties": {
                    "n": {"type": "integer"},
                    "to": {"type": "string"},
                    "unit": {"type": "string", "enum": ["EUR", "USD"]},
                    "note": {"type": "object"},
                },
                "required": ["n"],
            },
        },
        {"name": "ask", "parameters": None},
    ]
)
RIGHT = ToolCall("pay", {"n": 3, "unit": "EUR"})


def bench() -> Bench:
    registry = load_registry(third_party=False)
    judge = registry.create("judge", "tool_call", {}, RunContext(components=registry))
    return Bench({"tool_call": judge}, {"tool_call": 1.0})


def wrong(kind: str, *calls: ToolCall, seed: int = 0) -> str | None:
    return mutate_calls(list(calls), TOOLS, kind, random.Random(seed))


def test_each_kind_breaks_what_it_says() -> None:
    made = {kind: wrong(kind, RIGHT) for kind in KINDS}
    assert made["duplicated_call"] == write_calls([RIGHT, RIGHT])
    [unknown] = parse_calls(made["unknown_tool"] or "")
    assert unknown.arguments == RIGHT.arguments
    assert unknown.name not in ("pay", "ask")
    [extra] = parse_calls(made["extra_argument"] or "")
    assert extra.arguments.items() > RIGHT.arguments.items()
    assert not (set(extra.arguments) - set(RIGHT.arguments)) & {"to", "note"}
    assert made["enum_violation"] == write_calls([ToolCall("pay", {"n": 3, "unit": "other EUR"})])
    retyped = {wrong("wrong_type", RIGHT, seed=seed) for seed in range(20)}
    assert retyped == {
        write_calls([ToolCall("pay", {"n": "3", "unit": "EUR"})]),
        write_calls([ToolCall("pay", {"n": 3, "unit": ["EUR"]})]),
    }
    other = ToolCall("ask", {})
    assert wrong("wrong_order", RIGHT, other) == write_calls([other, RIGHT])
    for kind in ("wrong_order", "call_not_due"):
        assert made[kind] is None
    for kind in ("duplicated_call", "unknown_tool", "extra_argument", "wrong_type", "enum_violation", "no_call"):
        assert wrong(kind) is None
    assert wrong("wrong_order", RIGHT, RIGHT) is None
    for kind in ("malformed_json", "prose"):
        for seed in range(10):
            with pytest.raises(ValueError, match="JSON"):
                parse_calls(wrong(kind, RIGHT, seed=seed) or "[]")


def test_wrong_answers_are_written_as_the_right_one_is() -> None:
    tagged, listed = write_tagged_calls([RIGHT]), write_calls([RIGHT])
    for text in (tagged, listed, listed[1:-1]):
        write = writer_of(text)
        assert write is not None
        assert write(parse_calls(text)) == text
        assert parse_calls(write([RIGHT, RIGHT])) == [RIGHT, RIGHT]
        assert parse_calls(write([])) == []
    for other in (f"[TOOL_CALLS]{listed}", "<think>so</think>[]", "Paris."):
        assert writer_of(other) is None


def test_the_judge_calls_every_mutant_of_the_real_data_wrong() -> None:
    """All training rows of the Berkeley data, all kinds. The one exception: order does not matter in any of them."""
    train, _ = build(SilentProgress())
    assert len(train) == 741
    made: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    groups, kinds_of = [], []
    for prompt in train:
        mutants = {kind: mutate(prompt, kind, random.Random(prompt.id)) for kind in KINDS}
        texts = {kind: text for kind, text in mutants.items() if text is not None}
        answers = tuple(Completion(text, ()) for text in (prompt.reference or "", *texts.values()))
        groups.append(Group(prompt, (), answers, "reference", Sampling()))
        kinds_of.append(list(texts))
    for kinds, scored in zip(kinds_of, bench().score(groups), strict=True):
        assert scored.rewards[0] == 1.0, scored.group.prompt.id
        made.update(kinds)
        accepted.update(kind for kind, reward in zip(kinds, scored.rewards[1:], strict=True) if reward != 0.0)
    assert set(made) == set(KINDS)
    assert min(made.values()) >= 47
    assert accepted == {"wrong_order": made["wrong_order"]}


def rows(count: int = 40) -> list[Record]:
    train, _ = build(SilentProgress())
    return of_suite(train[:count], "tool-calls")


def test_rows_are_the_same_whatever_is_beside_them() -> None:
    config = NegativesConfig(per_prompt=2, seed=5)
    whole = list(negatives(rows(), bench(), config, Tally()))
    part = list(negatives(rows()[10:20], bench(), config, Tally()))
    assert part == [row for row in whole if 10 < row.place <= 20]
    other = list(negatives(rows()[10:20], bench(), config.model_copy(update={"seed": 6}), Tally()))
    assert [row.answers for row in other] != [row.answers for row in part]
    judged = [row.extra["mutation"] for row in part]
    assert set(judged) <= set(KINDS) - {"wrong_order"}
    assert max(Counter(row.place for row in part).values()) == 2


def test_labels_have_the_right_answer_once() -> None:
    tally = Tally()
    made = list(negatives(rows(5), bench(), NegativesConfig(form="labels", per_prompt=3), tally))
    for record in rows(5):
        mine = [row for row in made if row.place == record.place]
        assert [row.answers[0].worth for row in mine] == [1.0, *[0.0] * (len(mine) - 1)]
        assert mine[0].answers[0].text == record.prompt.reference
        assert "mutation" not in mine[0].extra
        assert mine[1].extra["origin"] == {"source": "tool-calls", "place": record.place}
    assert (tally.prompts, tally.used) == (5, 5)
    assert sum(tally.written.values()) == len(made) - 5


def test_what_nothing_is_made_of_is_counted() -> None:
    prompt = Prompt("p", ({"role": "user", "content": "Pay 3."},), tools=TOOLS)

    def record(text: str, given: Prompt = prompt) -> Record:
        return Record(given, (Answer(text),), "demonstration", "f.jsonl", 1)

    tally = Tally()
    right = write_calls([RIGHT])
    given = [
        record(right),
        record(right.replace(", ", ",")),  # the same calls
        record("Paid."),
        record("[1]"),
        record(right, replace(prompt, tools="")),
        record(write_calls([ToolCall("pay", {"unit": "EUR"})])),
        record(write_calls([ToolCall("pay", {"n": 1, "colour": "red"})])),
        record(write_calls([ToolCall("steal", {})])),
        record(write_calls([ToolCall("pay", {"n": "three"})]), replace(prompt, target='{"calls": []}')),
        Record(prompt, (Answer(right, 0.0),), "label"),
    ]
    made = list(negatives(given, bench(), NegativesConfig(per_prompt=20), tally))
    assert {row.answers[0].text for row in made} == {right}
    assert (tally.prompts, tally.used, tally.repeated, tally.unreadable, tally.refused) == (10, 1, 1, 4, 4)
    kinds = {row.extra["mutation"] for row in made}
    assert kinds == set(KINDS) - {"call_not_due", "wrong_order"}
    assert tally.accepted == {}


def test_a_target_from_a_row_takes_its_calls_and_no_others() -> None:
    prompt = Prompt("p", ({"role": "user", "content": "Pay."},), tools=TOOLS)
    nested = ToolCall("pay", {"n": 1, "note": {"tags": ["a", {"b": [1, 2]}], "deep": {"x": None}}})
    target = target_of([nested], TOOLS)
    assert target is not None
    others = [
        ToolCall("pay", {"n": 1, "note": {"tags": ["a", {"b": [1]}], "deep": {"x": None}}}),
        ToolCall("pay", {"n": 1, "note": {"tags": ["a", {"b": 1}], "deep": {"x": None}}}),
        ToolCall("pay", {"n": 1}),
    ]
    answers = tuple(Completion(write_calls([call]), ()) for call in (nested, *others))
    [scored] = bench().score([Group(replace(prompt, target=target), (), answers, "x", Sampling())])
    assert scored.rewards == (1.0, 0.0, 0.0, 0.0)
