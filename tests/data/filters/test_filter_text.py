"""The filters of an answer's text: Gopher's rules on numbers counted by hand, and what each must leave alone."""

from __future__ import annotations

import pytest
from quality_records import REGISTRY, chat, make, record, said, text

from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.record import Answer
from harness.errors import ConfigError
from harness.protocols import RunContext
from harness_plugins.filters.quality.language import LanguageFilter
from harness_plugins.filters.quality.repetition import duplicate_share, duplicate_shares, top_share
from harness_plugins.filters.quality.spam import signs
from harness_plugins.filters.quality.text import prose, units
from harness_plugins.filters.quality.truncation import unclosed

WORDS = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(400)]
"""Six letters each, no two of them equal."""
CODE = "def f(x):\n    y = x + 1\n    return y\n"
LIST = "1. Milk\n2. Bread\n3. Butter\n4. Eggs\n5. Two apples"
CALL = '[{"name": "f", "arguments": {"x": [1, 2, 3], "y": "a"}}]'


# ---------------------------------------------------------------- repetition


def test_shares_of_what_was_there_before() -> None:
    """Two of four lines, with 6 of 6 + 2 + 3 + 3 = 14 characters wherever they come."""
    assert duplicate_shares(["ab", "ccc", "ab", "ccc"]) == (0.5, 0.5)
    assert duplicate_shares(["a", "bbbbbb", "a", "bb"]) == (0.25, 0.1)


def test_shares_of_ngrams() -> None:
    words = ["to", "be", "or", "not", "to", "be", "or", "to", "be", "so", "to", "be"]
    total = sum(map(len, words))
    assert total == 25
    assert top_share(words, 2, total) == 16 / 25  # "to be", four times four characters
    assert duplicate_share(words, 3, total) == 12 / 25  # "to be or" twice, six characters each
    assert duplicate_share(words, 5, total) == 0


def test_overlapping_duplicates_are_counted_once() -> None:
    words = ["aa", "bb", "aa", "bb", "aa", "bb"]
    assert duplicate_share(words, 2, 12) == 1.0


@pytest.mark.parametrize(("run", "reasons"), [(19, []), (21, ["duplicate_ngrams"])])
def test_a_long_text_is_held_to_the_published_bounds(run: int, reasons: list[str]) -> None:
    """Of 400 words of one length 38 are in runs of 10 that come twice, 9.5%, or 42, 10.5%; the bound is 10%."""
    words = [*WORDS[: 400 - run], *WORDS[:run]]
    assert duplicate_share(words, 10, 400 * 6) == 2 * run / 400
    assert said("repetition", record(" ".join(words))) == reasons


def test_duplicate_ngrams() -> None:
    assert said("repetition", record(" ".join(WORDS))) == []
    assert said("repetition", record(" ".join([*WORDS[:340], *WORDS[:60]]))) == ["duplicate_ngrams"]
    assert said("repetition", record(" ".join([*WORDS[:384], *WORDS[:16]]))) == []  # 32 of 400 are 8%


def test_bounds_grow_as_words_get_fewer() -> None:
    """One run of five words twice among 40 is 25%, and 100% / 40 * 200 * .15 = 75%, held at 60%."""
    assert said("repetition", record(" ".join([*WORDS[:35], *WORDS[:5]]))) == []
    assert said("repetition", record("I like cats very much. " * 8)) == ["top_ngram"]
    assert said("repetition", record("I like cats very much. " * 3)) == []  # 15 words: under min_words
    assert said("repetition", record(" ".join([*WORDS[:26], *WORDS[:26]]))) == ["duplicate_ngrams"]
    assert said("repetition", record(" ".join([*WORDS[:26], *WORDS[:26]])), scale=3.0) == []


def test_lines_and_paragraphs() -> None:
    same = [" ".join(WORDS[i : i + 3]) for i in range(0, 21, 3)]
    assert said("repetition", record("\n".join([*same, *same[:1]]))) == []  # 1 of 8 lines
    assert said("repetition", record("\n".join([*same, *same[:2]]))) == ["duplicate_lines"]  # 22% of the characters
    assert said("repetition", record("\n".join([*same, *same[:4]]))) == ["duplicate_lines"]
    assert said("repetition", record("\n\n".join([*same, *same[:4]]))) == ["duplicate_paragraphs"]


def test_scripts_without_spaces_are_read_by_characters() -> None:
    assert units("今天天气很好今天天气很好")[:3] == ["今", "天", "天"]
    assert said("repetition", record("今天天气很好" * 12)) == ["top_ngram"]


# ---------------------------------------------------------------- prose


@pytest.mark.parametrize("whole", [CODE, CALL, "[]", "<tool_call>{}", "<html><p>x</p>", '{"a": 1', "SELECT a FROM b"])
def test_code_and_data_are_no_prose(whole: str) -> None:
    assert prose(whole) == ""


def test_prose_is_what_is_left_around_code() -> None:
    assert prose(f"Try it:\n```python\n{CODE}```\nand `x`.").split() == ["Try", "it:", "and", "."]
    assert prose("| a | b |\n|---|---|\nAnd so on.").strip() == "And so on."
    assert prose("[1] A note.") == "[1] A note."
    assert prose("<think>Well.</think>So it is.") == "<think>Well.</think>So it is."


# ---------------------------------------------------------------- symbols


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        ("It is \x07 so.", ["control_characters"]),
        ("It is \ufffd so.", ["control_characters"]),
        ("CafÃ© au lait", ["mojibake"]),
        ("It isnâ€™t so.", ["mojibake"]),
        ("Café, São Paulo, “so” — 10 €.", []),
        ("Take this: " + "QUJD" * 40, ["blob"]),
        ("Take this: " + "QUJD" * 20, []),
        ("$%&/()=?" * 6, ["symbol_share"]),
        ("2 + 2 = 4", []),
        (CODE * 5, []),
        (CALL, []),
    ],
)
def test_characters(answer: str, reasons: list[str]) -> None:
    assert said("symbols", record(answer)) == reasons


def test_what_is_asked_may_be_broken_too() -> None:
    (flaw,) = make("symbols").check(record(asked="CafÃ©?"))
    assert (flaw.reason, flaw.answer) == ("mojibake", None)


def test_ratios_at_their_bounds() -> None:
    """Of 60 words: 6 hash signs are 10%, 7 are more; 24 numbers leave 60% with a letter, 25 fewer."""
    plain = WORDS[:60]
    for signs_, reasons in ((6, []), (7, ["symbol_ratio"])):
        assert said("symbols", record(" ".join(f"#{w}" if i < signs_ else w for i, w in enumerate(plain)))) == reasons
        dots = (f"{w}..." if i < signs_ else w for i, w in enumerate(plain))
        assert said("symbols", record(" ".join(dots))) == reasons
    for numbers, reasons in ((24, []), (25, ["alphabetic_words"])):
        mixed = ["123456"] * numbers + plain[numbers:]
        assert said("symbols", record(" ".join(mixed))) == reasons
    assert said("symbols", record("ab " * 60)) == ["word_length"]
    assert said("symbols", record("abc " * 60)) == []
    assert said("symbols", record("abcdefghijk " * 60)) == ["word_length"]
    assert said("symbols", record("ab " * 49)) == []


def test_lines_of_documents() -> None:
    bullets = "\n".join(f"- {' '.join(WORDS[i : i + 6])}" for i in range(0, 60, 6))
    assert said("symbols", text(bullets)) == ["bullet_lines"]
    assert said("symbols", record(bullets)) == []
    open_lines = "\n".join(" ".join(WORDS[i : i + 15]) + ("…" if i < 30 else "") for i in range(0, 60, 15))
    assert said("symbols", text(open_lines)) == ["ellipsis_lines"]


# ---------------------------------------------------------------- boilerplate


def test_phrases() -> None:
    assert said("boilerplate", record("As an AI language model, I have no taste.")) == ["assistant_phrase"]
    assert said("boilerplate", record("We use cookies. Accept all cookies?")) == ["web_phrase"]
    assert said("boilerplate", text("Please enable JavaScript to go on.")) == ["web_phrase"]
    assert said("boilerplate", record("Lorem ipsum is filler.", asked="What is lorem ipsum?")) == []
    assert said("boilerplate", record("Brought to you by ACME."), more=["by acme"]) == ["own_phrase"]
    assert said("boilerplate", chat([{"role": "user", "content": "?"}], [Answer("As an AI model, no.", 0.0)])) == []


def test_a_closing_is_cut_off() -> None:
    answer = "The capital is Paris. I hope this helps! Let me know if you have any other questions."
    (flaw,) = make("boilerplate").check(record(answer))
    assert flaw.reason == "closing"
    assert flaw.rewritten is not None
    assert flaw.rewritten.answers[0].text == "The capital is Paris."
    assert said("boilerplate", record(answer), closings=False) == []
    assert said("boilerplate", record("I hope this helps!")) == []  # nothing would be left
    assert said("boilerplate", record("I hope this helps! Paris.")) == []


def test_every_closing_of_a_pair_is_cut_off_in_one_record() -> None:
    pair = chat([{"role": "user", "content": "?"}], [Answer("Yes. Hope this helps!"), Answer("So. Hope this helps!")])
    flaws = make("boilerplate").check(pair)
    assert {flaw.answer for flaw in flaws} == {0, 1}
    assert flaws[0].rewritten == flaws[1].rewritten
    sieve = make_sieve([FilterUse(name="boilerplate")], REGISTRY, RunContext(components=REGISTRY))
    (kept,) = sift([pair], sieve).kept
    assert [answer.text for answer in kept.answers] == ["Yes.", "So."]


# ---------------------------------------------------------------- truncation

LONG = " ".join(WORDS[:40])


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        (f"{LONG}.", []),
        (LONG, ["open_end"]),
        (f"{LONG},", ["open_end"]),
        (f"{LONG}.\nIt was bought by the", ["open_end"]),
        (f"{LONG}.\nKind regards\nAnna", []),
        (f"{LONG}.\n- {' '.join(WORDS[:14])}", []),
        (f"{LONG}。", []),
        (f"{LONG} :)", []),
        (" ".join(WORDS[:29]), []),
        (LIST, []),
        (CALL, []),
        (CALL[:-3], ["open_json"]),
        ('{"a": [1, 2', ["open_json"]),
        ('{"a": "an open string', ["open_json"]),
        ("[See below] for more", []),
        (f"So:\n```python\n{CODE}", ["open_fence"]),
        (f"So:\n```python\n{CODE}```\n", []),
        ("Paris", []),
    ],
)
def test_ends(answer: str, reasons: list[str]) -> None:
    assert said("truncation", record(answer)) == reasons


def test_documents_may_end_anywhere() -> None:
    assert said("truncation", text(LONG)) == []
    assert said("truncation", text(f"```\n{CODE}")) == ["open_fence"]


def test_brackets_in_strings_do_not_count() -> None:
    assert unclosed('[{"a": "]]"}') == 1
    assert unclosed('["[["]') == 0


# ---------------------------------------------------------------- language

ENGLISH = "The river rises in the hills behind the town, and most of the people who live there fish in it."
OTHERS = {
    "de": "Der Fluss entspringt in den Hügeln hinter der Stadt, und die meisten Leute, die dort leben, fischen darin.",
    "nl": "De rivier ontspringt in de heuvels achter de stad, en de meeste mensen die daar wonen vissen in het water.",
    "fr": "Le fleuve prend sa source dans les collines derrière la ville, et la plupart des habitants y pêchent.",
    "es": "El río nace en las colinas detrás de la ciudad, y la mayoría de la gente que vive allí pesca en él.",
    "it": "Il fiume nasce nelle colline dietro la città, e la maggior parte delle persone che ci vivono pesca lì.",
    "sv": "Floden rinner upp i kullarna bakom staden, och de flesta av dem som bor där fiskar i den hela året.",
    "ru": "Река берёт начало в холмах за городом, и большинство людей, которые там живут, ловят в ней рыбу.",
    "zh": "这条河发源于城后的山丘，住在那里的人大多在河里捕鱼。" * 3,
}


@pytest.mark.parametrize("code", OTHERS)
def test_other_languages(code: str) -> None:
    assert said("language", record(OTHERS[code])) == ["answer_language"]
    assert said("language", record(asked=OTHERS[code])) == ["prompt_language"]
    assert said("language", record(asked=OTHERS[code]), prompts=False) == []
    assert said("language", record(OTHERS[code], asked=OTHERS[code]), languages=["en", code]) == []
    assert said("language", record(ENGLISH, asked=ENGLISH)) == []
    assert said("language", record(ENGLISH), languages=[code]) == ["answer_language"]


def test_an_answer_may_be_in_the_language_that_is_asked_for() -> None:
    assert said("language", record(OTHERS["de"], asked="Say it in German.")) == []
    assert said("language", record(OTHERS["fr"], asked="Say it in German.")) == ["answer_language"]
    assert said("language", record(OTHERS["fr"], asked="Translate this.")) == []


def test_short_text_code_and_calls_have_no_language() -> None:
    for answer in ("Guten Tag", CODE * 3, '[{"name": "f", "arguments": {"x": "' + OTHERS["de"] + '"}}]'):
        assert said("language", record(answer)) == []


def test_a_language_that_nobody_knows() -> None:
    with pytest.raises(ConfigError, match="no language has the code 'xx'"):
        make("language", {"languages": ["xx"]})
    assert isinstance(make("language"), LanguageFilter)


# ---------------------------------------------------------------- spam

SPAM = (
    "BUY NOW!!! Cheap replica watches at www.best-deals.shop - 90% OFF, limited time offer! Click here now.",
    "Congratulations! You have been selected as the winner of a lottery. Claim your prize!!! Call now 1-800-555-0199.",
    "Make money from home! Earn $500 per day. 100% FREE. Sign up now at http://easy-cash.biz before it is too late!",
    "Great post! Visit my site for the best casino bonus: http://casino-win.com http://poker-win.com",
    "CALL NOW 0800 123 4567 for the CHEAPEST LOANS, NO CREDIT CHECK, APPROVED IN MINUTES!!!",
)
HAM = (
    "To unsubscribe from the newsletter, click here in the footer, or write to them.",
    "Happy birthday!!! 🎉🎉🎉 Have a WONDERFUL day!!!",
    "Useful links: https://docs.python.org https://numpy.org https://pytorch.org",
    "Call them at 1-800-555-0199 if it does not arrive: they offer free shipping and a money-back guarantee.",
    "NASA, ESA, JAXA and ISRO are space agencies. IBM, AMD and TSMC make chips.",
)


@pytest.mark.parametrize("advert", SPAM)
def test_spam(advert: str) -> None:
    assert said("spam", record(advert)) == ["spam"]
    assert said("spam", record(asked=advert)) == ["spam"]
    assert said("spam", record(asked=advert), prompts=False) == []
    assert said("spam", record(advert, asked="Write an advertisement for watches.")) == []


@pytest.mark.parametrize("honest", HAM)
def test_ham(honest: str) -> None:
    assert said("spam", record(honest, asked=honest)) == []


def test_signs_counted_by_hand() -> None:
    """One phrase of three; two links in 40 words are half of one in ten; 20 capitals of 40 words are full."""
    plain = " ".join(WORDS[:38])
    assert signs(f"{plain} click here") == {"phrases": pytest.approx(1 / 3)}
    assert signs(f"{plain} https://a.org https://b.org") == {"links": pytest.approx(0.5)}
    assert signs(" ".join([*WORDS[:20], *(w.upper() for w in WORDS[20:40])])) == {"capitals": 1.0}
    # 4 of 32 words are 12.5%: between 8% (nothing) and 20% (full).
    assert signs(" ".join([*WORDS[:28], *["cheese"] * 4])) == {"keywords": pytest.approx((0.125 - 0.08) / 0.12)}
