"""The `instructions` judge: every kind of constraint against texts counted by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts

from harness.errors import ConfigError, PluginError
from harness.types import Prompt
from harness_judges.instructions.checks import COUNTS, problem
from harness_judges.instructions.constraints import Constraints


def row(*constraints: dict[str, Any]) -> Prompt:
    return Prompt("row-3", (), target=json.dumps({"constraints": constraints}))


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        ("words", "One two, three - four.", 4),
        ("words", "- a\n- b", 2),
        ("words", "It's 3.5 well-made things", 4),
        ("words", "", 0),
        ("sentences", "One. Two! Three?", 3),
        ("sentences", "It costs 3.5 euros. Really...", 2),
        ("sentences", 'He said "Stop." Then he left', 2),
        ("sentences", "- One\n- Two", 2),
        ("paragraphs", "One\nstill one\n\nTwo\n \n\nThree\n", 3),
        ("paragraphs", "\n\nOne", 1),
        ("bullets", "Intro:\n- a\n* b\n  + c\n• d", 4),
        ("bullets", "1. a\n-b\na - b\n**bold** text\n-", 0),
        ("headings", "# A\ntext\n## B ##\n#no\n a # b", 2),
        ("headings", "#\n\n####### seven", 0),
        ("highlights", "A **bold one** and *another*.", 2),
        ("highlights", "* bullet\n* bullet", 0),
        ("highlights", "2 * 3 * 4 and ** no ** and ****", 0),
        ("highlights", "***both***", 1),
        ("placeholders", "Dear [name], see [date]. [](x) [link](http://a.example)", 2),
        ("placeholders", "[a\nb] and []", 0),
    ],
)
def test_counts(verdicts: Verdicts, kind: str, text: str, number: int) -> None:
    assert COUNTS[kind](text) == number
    if text:
        bounds = [{"exactly": number}, {"at_least": number}, {"at_most": number}, {"exactly": number + 1}]
        values = [verdicts("instructions", row({"kind": kind, **bound}), text)[0].value for bound in bounds]
        assert values == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ({"kind": "words", "at_least": 2, "at_most": 3}, ["a b", "a b c"], ["a", "a b c d"]),
        (
            {"kind": "keyword", "text": "river bank", "at_least": 2},
            ["River bank, river\nbank"],
            ["river bank", "rivers bank river banks"],
        ),
        ({"kind": "keyword", "text": "no", "exactly": 0}, ["now and none"], ["No."]),
        ({"kind": "keyword", "text": "C++", "at_least": 1}, ["I like C++."], ["C+ +"]),
        ({"kind": "heading", "text": "Why"}, ["# why\ntext", "## Why ##"], ["Why", "# Why not"]),
        (
            {"kind": "starts", "text": "In short:"},
            ["In short: yes", "\n In short: yes"],
            ["in short: yes", "So. In short:"],
        ),
        ({"kind": "ends", "text": "The end."}, ["Done. The end.", "The end.\n"], ["The end. Or not", "The end"]),
        (
            {"kind": "postscript"},
            ["Text\n\nP.S. More", "Text\n\nP.S.: more"],
            ["Text P.S. more", "Text\n\nP.S.", "P.S. a\n\nb"],
        ),
        ({"kind": "postscript", "marker": "P.P.S."}, ["a\n\nP.P.S. b"], ["a\n\nP.S. b"]),
        ({"kind": "without", "text": ","}, ["a; b"], ["a, b"]),
        ({"kind": "casing", "to": "lower"}, ["all small, 7 of them"], ["Not all", "42"]),
        ({"kind": "casing", "to": "upper"}, ["ALL BIG!"], ["ALL Big", "..."]),
        ({"kind": "casing", "to": "title"}, ["A Well-made Day", "Ärger Im Haus"], ["A day", "42"]),
        ({"kind": "json"}, ['{"a": 1}', " [1]\n"], ["7", '"a"', '```json\n{"a": 1}\n```', '{"a": 1} ok', '{"a": NaN}']),
        ({"kind": "json", "keys": ["a", "b"]}, ['{"b": 1, "a": [2]}'], ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}', "[]"]),
        (
            {"kind": "responses", "separator": "***", "exactly": 2},
            ["One.\n***\nTwo.", "One.\n\n ***  \n\nTwo."],
            ["One. *** Two.", "One.\n***\none. ", "One.\n***\n", "One.\n***\nTwo.\n***\nThree.", "One."],
        ),
    ],
)
def test_good_and_bad(verdicts: Verdicts, constraint: dict[str, Any], good: list[str], bad: list[str]) -> None:
    assert [score.label for score in verdicts("instructions", row(constraint), *good)] == ["ok"] * len(good)
    scores = verdicts("instructions", row(constraint), *bad)
    assert [(score.value, score.label) for score in scores] == [(0.0, constraint["kind"])] * len(bad)
    assert all(score.explanation for score in scores)


TWO = (
    {"kind": "words", "at_most": 3},
    {"kind": "keyword", "text": "tea", "at_least": 1},
    {"kind": "without", "text": ","},
)


def test_all_or_a_share(verdicts: Verdicts) -> None:
    texts = ("tea for two", "tea, for two people", "coffee", "coffee, for two people")
    whole = verdicts("instructions", row(*TWO), *texts)
    assert [score.value for score in whole] == [1, 0, 0, 0]
    share = verdicts("instructions", row(*TWO), *texts, credit="share")
    assert [score.value for score in share] == pytest.approx([1, 1 / 3, 2 / 3, 0])
    assert (
        [s.label for s in whole]
        == [s.label for s in share]
        == [
            "ok",
            "words, without",
            "keyword",
            "words, keyword, without",
        ]
    )
    assert whole[1].explanation == "4 words where at most 3 are asked for; ',' is in it"
    assert whole[2].explanation == "0 times 'tea' where at least 1 are asked for"


@pytest.mark.parametrize("credit", ["all", "share"])
def test_a_blank_answer_is_worth_nothing(verdicts: Verdicts, credit: str) -> None:
    """It would meet both of these."""
    asked = row({"kind": "words", "at_most": 3}, {"kind": "without", "text": ","})
    scores = verdicts("instructions", asked, "", " \n", credit=credit)
    assert [(score.value, score.label) for score in scores] == [(0.0, "empty")] * 2


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"constraints": []}, "constraints = "),
        ({"constraints": [{"kind": "json"}], "must": ["a"]}, "'must'"),
        ({"constraints": [{"kind": "wrods", "exactly": 1}]}, r"constraints.0"),
        ({"constraints": [{"kind": "words"}]}, "give exactly, at_least or at_most"),
        ({"constraints": [{"kind": "words", "exactly": 1, "at_most": 2}]}, "exactly leaves nothing"),
        ({"constraints": [{"kind": "words", "at_least": 3, "at_most": 2}]}, "at_most 2 is below at_least 3"),
        ({"constraints": [{"kind": "words", "at_least": -1}]}, "at_least = -1"),
        ({"constraints": [{"kind": "keyword", "text": " ", "exactly": 0}]}, "text = ' '"),
        ({"constraints": [{"kind": "casing", "to": "small"}]}, "to = 'small'"),
        ({"constraints": [{"kind": "without", "text": ",", "exactly": 0}]}, "exactly"),
    ],
)
def test_a_bad_row_is_named_with_its_field(verdicts: Verdicts, target: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=rf"prompt row-3, judge instructions: .*{says}"):
        verdicts("instructions", Prompt("row-3", (), target=json.dumps(target)), "a")


def test_no_target_abstains_and_a_list_is_no_target(verdicts: Verdicts) -> None:
    assert verdicts("instructions", Prompt("p", ()), "a")[0].status == "abstained"
    with pytest.raises(PluginError, match="row-3"):
        verdicts("instructions", Prompt("row-3", (), target="[]"), "a")


# ---------------------------------------------------------------- properties

WORD = st.text(st.characters(categories=["Ll"], max_codepoint=0x17F), min_size=1, max_size=6)


def read(**constraint: Any) -> Any:
    return Constraints.model_validate({"constraints": [constraint]}).constraints[0]


@given(st.lists(WORD, min_size=1, max_size=12), st.integers(0, 14))
def test_bounds_agree_with_counting_what_was_written(words: list[str], limit: int) -> None:
    layouts = {
        "words": " ".join(words),
        "sentences": " ".join(f"{word}." for word in words),
        "paragraphs": "\n\n".join(words),
        "bullets": "\n".join(f"- {word}" for word in words),
        "headings": "\n".join(f"# {word}" for word in words),
        "highlights": " ".join(f"**{word}**" for word in words),
        "placeholders": " ".join(f"[{word}]" for word in words),
    }
    assert set(layouts) == set(COUNTS)
    for kind, text in layouts.items():
        assert (problem(read(kind=kind, at_least=limit), text) is None) == (len(words) >= limit)
        assert (problem(read(kind=kind, at_most=limit), text) is None) == (len(words) <= limit)
        assert (problem(read(kind=kind, exactly=limit), text) is None) == (len(words) == limit)


@given(st.text())
def test_any_text_is_judged_without_a_crash(text: str) -> None:
    kinds = [{"kind": kind, "at_least": 1} for kind in COUNTS]
    rest: list[dict[str, Any]] = [
        {"kind": "keyword", "text": "a", "exactly": 0},
        {"kind": "responses", "separator": "***", "exactly": 2},
        {"kind": "heading", "text": "a"},
        {"kind": "postscript"},
        {"kind": "casing", "to": "title"},
        {"kind": "json"},
    ]
    for constraint in (*kinds, *rest):
        assert isinstance(problem(read(**constraint), text), str | None)
