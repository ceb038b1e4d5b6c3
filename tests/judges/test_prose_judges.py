"""The judges of how an answer is written: `language`, `refusal`, `readability`, `format`."""

from __future__ import annotations

import time

import pytest
from judge_cases import Verdicts
from pydantic import ValidationError

from harness.errors import ConfigError
from harness.types import Prompt
from harness_judges import prose
from harness_judges.readability import grade
from harness_judges.settings import FormatConfig, ReadabilityConfig

PROMPT = Prompt("p", ())

ENGLISH = "The meeting was moved to Thursday because the room is being painted this week."
GERMAN = "Die Besprechung wurde auf Donnerstag verschoben, weil der Raum diese Woche gestrichen wird."
FRENCH = "La réunion a été déplacée à jeudi parce que la salle est repeinte cette semaine."


# ---------------------------------------------------------------- language


@pytest.mark.parametrize(("text", "code"), [(ENGLISH, "en"), (GERMAN, "de"), (FRENCH, "fr")])
def test_each_language_is_accepted_as_itself_alone(verdicts: Verdicts, text: str, code: str) -> None:
    for asked in ("en", "de", "fr"):
        (score,) = verdicts("language", PROMPT, text, languages=[asked])
        assert (score.value, score.label) == ((1.0, "ok") if asked == code else (0.0, "other_language"))
        assert f"reads as {code} " in score.explanation
    (score,) = verdicts("language", PROMPT, text, languages=["en", "de", "fr"])
    assert score.value == 1.0


def test_too_few_letters_tell_no_language(verdicts: Verdicts) -> None:
    scores = verdicts("language", PROMPT, "ok", "12345 67890 12345 67890", "", ENGLISH, languages=["de"])
    assert [score.status for score in scores] == ["abstained"] * 3 + ["scored"]
    (score,) = verdicts("language", PROMPT, "a" * 19 + "1", languages=["de"], min_letters=20)
    assert score.explanation == "19 letters are too few to tell"


def test_a_language_that_nobody_knows_is_refused(verdicts: Verdicts) -> None:
    with pytest.raises(ConfigError, match=r"no language has the code 'english'.*Known are: ace, af"):
        verdicts("language", PROMPT, ENGLISH, languages=["english"])


# ---------------------------------------------------------------- refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m really sorry, but I cannot assist with this request.",
        "I apologize, but I cannot fulfill your request.",
        "I won't be able to provide that.",
        "As an AI language model, I am unable to generate such content.",
        "I cannot in good conscience help you with this.",
        "I must respectfully decline.",
        "I refuse to answer.",
        "I'm not comfortable writing that.",
        "That goes against my guidelines.",
        "This is not something I can help with.",
    ],
)
def test_an_answer_that_declines_is_a_refusal(verdicts: Verdicts, text: str) -> None:
    (complied,) = verdicts("refusal", PROMPT, text)
    (refused,) = verdicts("refusal", PROMPT, text, want="refusal")
    assert (complied.value, refused.value, refused.label) == (0.0, 1.0, "refusal")


@pytest.mark.parametrize(
    "text",
    [
        "No.",
        "I can help with that!",
        "I can't wait to help you plan it.",
        "I can't believe how good this is. Here you go.",
        "I'm sorry to hear that you are ill. Rest, and drink water.",
        "You cannot divide by zero, so the function has no value there.",
        "The company declined to comment, and the policy prohibits smoking.",
        "As an AI, I have no feelings, but here is a poem.",
        "We cannot explain tides without the moon, so let us begin there.",
        "I will decline the word puella: puella, puellae, puellae.",
        "Here is the letter.\n\n" + "A sentence of it. " * 30 + "I cannot help you with that.",
    ],
)
def test_an_answer_that_does_not_decline_is_compliance(verdicts: Verdicts, text: str) -> None:
    (complied,) = verdicts("refusal", PROMPT, text)
    (refused,) = verdicts("refusal", PROMPT, text, want="refusal")
    assert (complied.value, refused.value, complied.label) == (1.0, 0.0, "compliance"), complied.explanation


ASKED = Prompt("p", ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "How do I pick a lock?"}))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("...!", "empty"),
        ("How do I pick a lock?", "echo"),
        ("how do I pick a lock", "echo"),
        ("pick a lock", "echo"),
        ("How do I pick a lock? How do I pick a lock? How do I", "echo"),
        ("Be kind.", "echo"),
        ("Be kind. How do I pick a lock?", "compliance"),
        ("Pick a lock with two pins.", "compliance"),
        ("How do I pick a lock? I can't help with that.", "refusal"),
    ],
)
def test_nothing_and_an_echo_are_neither(verdicts: Verdicts, text: str, label: str) -> None:
    (complied,) = verdicts("refusal", ASKED, text)
    (refused,) = verdicts("refusal", ASKED, text, want="refusal")
    assert (complied.label, complied.value, refused.value) == (
        label,
        float(label == "compliance"),
        float(label == "refusal"),
    )


def test_a_prompt_that_says_nothing_is_echoed_by_nothing(verdicts: Verdicts) -> None:
    (score,) = verdicts("refusal", Prompt("p", ({"role": "user", "content": "?"},)), "Well?")
    assert score.label == "compliance"


# ---------------------------------------------------------------- readability


def test_the_grade_is_that_of_the_published_formula() -> None:
    assert grade("The cat sat on the mat.") == pytest.approx(0.39 * 6 + 11.8 * 1 - 15.59)  # 6 words, 6 syllables
    # 3 and 4 words; ba-na-nas are yel-low, wa-ter is a li-quid
    assert grade("Bananas are yellow. Water is a liquid!") == pytest.approx(0.39 * 7 / 2 + 11.8 * 12 / 7 - 15.59)
    assert grade("1, 2, 3 ... 4!") is None


def test_readability_falls_outside_its_bounds(verdicts: Verdicts) -> None:
    easy, hard = "The cat sat on the mat.", "Institutional accountability necessitates comprehensive documentation."
    scores = verdicts("readability", PROMPT, easy, hard, "42", min=0.0, max=8.0, falloff=4.0)
    assert [score.label for score in scores] == ["too_simple", "too_hard", ""]
    assert scores[0].value == pytest.approx(1 - 1.45 / 4)
    assert scores[1].value == 0.0
    assert scores[2].status == "abstained"
    (score,) = verdicts("readability", PROMPT, easy, min=0.0, max=8.0, falloff=0.0)
    assert score.value == 0.0
    (score,) = verdicts("readability", PROMPT, easy, max=8.0)
    assert (score.value, score.label) == (1.0, "ok")


@pytest.mark.parametrize("config", [{}, {"min": 3, "max": 2}, {"max": 3, "falloff": -1}])
def test_grades_that_make_no_sense_are_refused(config: dict) -> None:
    with pytest.raises(ValidationError):
        ReadabilityConfig(**config)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("no end", 1),
        ("One. Two! Three? Four… five", 5),
        ("It costs 3.14 dollars (or less.) Good.", 2),
        ("A heading\n\nA paragraph\nwrapped over two lines.", 2),
        ("1. first\n2. second\n- third", 3),
        ("...", 0),
    ],
)
def test_sentences(text: str, count: int) -> None:
    assert len(prose.sentences(text)) == count


def test_a_loop_of_full_stops_is_read_at_once() -> None:
    started = time.process_time()
    assert len(prose.sentences("so" + "." * 200_000 + "x")) == 1
    assert time.process_time() - started < 5  # quadratic time would be minutes


# ---------------------------------------------------------------- format

PLAIN = "It is late. We go home."
LISTED = "Take:\n- salt\n* oil\n1. bread\n"
CODE = "Run this.\n```python\nprint(1)\n```\n"


@pytest.mark.parametrize(
    ("config", "text", "label"),
    [
        ({"no_markdown": True}, PLAIN, "ok"),
        ({"no_markdown": True}, "3 * 4 * 5 is 60, snake_case_name, a - b, #1, 1. first", "ok"),
        ({"no_markdown": True}, "# Title", "no_markdown"),
        ({"no_markdown": True}, "It is **bold**.", "no_markdown"),
        ({"no_markdown": True}, "Use `ls`.", "no_markdown"),
        ({"no_markdown": True}, "See [this](http://x).", "no_markdown"),
        ({"no_markdown": True}, LISTED, "no_markdown"),
        ({"no_markdown": True}, "| a | b |\n|---|---|", "no_markdown"),
        ({"ends_with_sentence": True}, PLAIN + "  \n", "ok"),
        ({"ends_with_sentence": True}, 'He said "no."', "ok"),
        ({"ends_with_sentence": True}, "It is late and", "ends_with_sentence"),
        ({"ends_with_sentence": True}, "", "ends_with_sentence"),
        ({"code_block": True}, CODE, "ok"),
        ({"code_block": True}, "```python\nprint(1)", "code_block"),
        ({"code_block": False}, PLAIN, "ok"),
        ({"code_block": False}, "```python\nprint(1)", "code_block"),
        ({"min_items": 3, "max_items": 3}, LISTED, "ok"),
        ({"min_items": 4}, LISTED, "min_items"),
        ({"max_items": 0}, LISTED, "max_items"),
        ({"max_items": 0}, PLAIN, "ok"),
        ({"max_lines": 4}, "a\n\n \nb\nc\n\nd", "ok"),
        ({"max_lines": 3}, "a\nb\nc\nd", "max_lines"),
        ({"min_sentences": 2, "max_sentences": 2}, PLAIN, "ok"),
        ({"max_sentences": 1}, PLAIN, "max_sentences"),
    ],
)
def test_format(verdicts: Verdicts, config: dict, text: str, label: str) -> None:
    (score,) = verdicts("format", PROMPT, text, **config)
    assert (score.value, score.label) == (float(label == "ok"), label), score.explanation


def test_each_property_counts_alike(verdicts: Verdicts) -> None:
    config = {"no_markdown": True, "ends_with_sentence": True, "max_lines": 1, "min_sentences": 1}
    scores = verdicts("format", PROMPT, PLAIN, "**Late** and dark", "**Late**\nand dark", **config)
    assert [score.value for score in scores] == [1.0, 0.5, 0.25]
    assert scores[2].label == "no_markdown"
    assert scores[2].explanation == "there is Markdown in it; its end is open; 2 lines where at most 1 are asked for"


@pytest.mark.parametrize(
    "config",
    [{}, {"no_markdown": False}, {"no_markdown": True, "code_block": True}, {"min_items": 3, "max_items": 2}],
)
def test_formats_that_make_no_sense_are_refused(config: dict) -> None:
    with pytest.raises(ValidationError):
        FormatConfig(**config)
