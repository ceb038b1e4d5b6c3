"""The `spam` filter: a score of the signs of advertising, and which of them there are.

Each sign gives a number between 0 and 1 and counts with its weight. No weight reaches 1, so that one sign alone never
makes a text spam: a list of links, a text in capitals and a party invitation are none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from harness.data.record import Flaw, Record
from harness_plugins.filters.quality.configs import SpamConfig
from harness_plugins.filters.quality.text import learnt, prose

PHRASES = (
    "click here",
    "click below",
    "click the link",
    "click this link",
    "link in bio",
    "buy now",
    "order now",
    "order today",
    "shop now",
    "act now",
    "call now",
    "call us now",
    "call today",
    "apply now",
    "join now",
    "sign up now",
    "subscribe now",
    "visit our website",
    "visit our site",
    "visit us at",
    "limited time",
    "limited offer",
    "special offer",
    "exclusive offer",
    "exclusive deal",
    "best price",
    "lowest price",
    "cheapest",
    "discount code",
    "promo code",
    "coupon",
    "money back guarantee",
    "money-back guarantee",
    "risk free",
    "risk-free",
    "100% free",
    "100% guaranteed",
    "absolutely free",
    "free trial",
    "free shipping",
    "free gift",
    "free bonus",
    "no credit check",
    "no obligation",
    "make money",
    "earn money",
    "earn cash",
    "extra income",
    "work from home",
    "get rich",
    "passive income",
    "double your",
    "congratulations! you",
    "you have been selected",
    "you've been selected",
    "you have won",
    "you've won",
    "claim your",
    "winner",
    "lottery",
    "jackpot",
    "casino",
    "online betting",
    "viagra",
    "cialis",
    "weight loss",
    "lose weight fast",
    "miracle",
    "payday loan",
    "cheap loans",
    "crypto investment",
    "guaranteed returns",
    "dm me",
    "whatsapp",
    "satisfaction guaranteed",
    "while supplies last",
    "don't miss out",
    "hurry",
    "unsubscribe",
    "seo services",
    "backlinks",
    "increase your traffic",
    "replica watches",
    "followers",
)
WEIGHTS = {
    "phrases": 0.9,
    "links": 0.75,
    "phone": 0.3,
    "capitals": 0.4,
    "exclamations": 0.4,
    "money": 0.3,
    "emoji": 0.4,
    "keywords": 0.5,
}
ENOUGH_PHRASES = 3
"""Different phrases that make the sign full."""
ENOUGH_LINKS = 0.1
"""Links for each word; one link alone counts half at most."""
ENOUGH_EXCLAMATIONS = 0.1
"""Exclamation marks for each word, from two on; or one run of three."""
ENOUGH_EMOJI = 0.15
"""Emoji for each word, from three on."""
CAPITALS = (0.2, 0.5)
"""Share of the words of three letters or more that are capitals: where the sign begins, and where it is full."""
KEYWORDS = (0.08, 0.2)
"""Share of the words that are one and the same word of four letters or more, of texts of `KEYWORD_WORDS` or more."""
KEYWORD_WORDS = 30

_LINK = re.compile(r"(?:https?://|www\.)\S*|\.(?:com|net|biz|info|shop|xyz|click|online)\b")
_PHONE = re.compile(r"(?:\+?\d{1,3}[ .-]?)?\(?\d{3,4}\)?[ .-]\d{3,4}[ .-]?\d{3,4}\b")
_BEG = re.compile(r"\b(?:call|text|phone|dial|sms|contact|whatsapp|hotline)\b", re.IGNORECASE)
_CAPITALS = re.compile(r"\b[A-Z]{3,}\b")
_LONG_WORD = re.compile(r"\b[^\W\d_]{3,}\b")
_SHOUT = re.compile(r"!{3,}|(?:!\s?\?){2,}")
_MONEY = re.compile(
    r"\${2,}|[$€£]\s?\d[\d,.]*\s?(?:/|a|per|every)\s?(?:day|hour|week|month)|\d{2,3}\s?% (?:off|free)", re.IGNORECASE
)
_ASKED_FOR = re.compile(r"advert|marketing|promo|commercial|newsletter|slogan|\bad\b|campaign|spam", re.IGNORECASE)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\u2b50]")
_KEYWORD = re.compile(r"[^\W\d_]{4,}")


class SpamFilter:
    """Looks at what is asked, and at answers that are to be learnt. Code and JSON are no spam, and neither is
    advertising that was asked for."""

    def __init__(self, config: SpamConfig) -> None:
        self.config = config

    def check(self, record: Record) -> Sequence[Flaw]:
        flaws = []
        if self.config.prompts and (detail := self._detail(record.asked)) is not None:
            flaws.append(Flaw("spam", f"prompt: {detail}"))
        for index, text in learnt(record):
            if (detail := self._detail(text)) is not None and not _ASKED_FOR.search(record.asked):
                flaws.append(Flaw("spam", detail, answer=index))
        return flaws

    def _detail(self, text: str) -> str | None:
        found = signs(prose(text), self.config.threshold)
        score = sum(WEIGHTS[name] * value for name, value in found.items())
        if score < self.config.threshold:
            return None
        return f"{score:.2f}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items())


def signs(text: str, threshold: float = 0.0) -> dict[str, float]:
    """Those that there are, each in (0, 1]: all, or as many as show that their score stays below the threshold."""
    plain = text.casefold().replace("\u2019", "'")
    words = plain.count(" ") + plain.count("\n") + 1
    found: dict[str, float] = {}
    score, left = 0.0, sum(WEIGHTS.values())
    for name, sign in _SIGNS.items():
        if score + left < threshold:
            break
        if (value := min(1.0, sign(text, plain, words))) > 0:
            found[name] = value
            score += WEIGHTS[name] * value
        left -= WEIGHTS[name]
    return found


def _phrases(text: str, plain: str, words: int) -> float:
    return sum(phrase in plain for phrase in PHRASES) / ENOUGH_PHRASES


def _links(text: str, plain: str, words: int) -> float:
    count = len(_LINK.findall(text)) if "." in text or "://" in text else 0
    return min(count / words / ENOUGH_LINKS, 0.5 if count == 1 else 1.0)


def _money(text: str, plain: str, words: int) -> float:
    return float(any(sign in text for sign in "$%€£") and _MONEY.search(text) is not None)


def _exclamations(text: str, plain: str, words: int) -> float:
    count = text.count("!")
    if count < 2:
        return 0.0
    return 1.0 if _SHOUT.search(text) else count / words / ENOUGH_EXCLAMATIONS


def _emoji(text: str, plain: str, words: int) -> float:
    count = 0 if text.isascii() else len(_EMOJI.findall(text))
    return count / words / ENOUGH_EMOJI if count >= 3 else 0.0


def _capitals(text: str, plain: str, words: int) -> float:
    """0 where there are few words in capitals, as in a headline."""
    capitals = len(_CAPITALS.findall(text))
    return _between(capitals / len(_LONG_WORD.findall(text)), CAPITALS) if capitals >= 4 else 0.0


def _keywords(text: str, plain: str, words: int) -> float:
    found = _KEYWORD.findall(plain) if words >= KEYWORD_WORDS else []
    return _between(Counter(found).most_common(1)[0][1] / len(found), KEYWORDS) if found else 0.0


def _phone(text: str, plain: str, words: int) -> float:
    return float(_PHONE.search(text) is not None and _BEG.search(text) is not None)


def _between(share: float, bounds: tuple[float, float]) -> float:
    """0 up to the lower bound, 1 from the upper one on."""
    low, high = bounds
    return min(1.0, max(0.0, (share - low) / (high - low)))


# The quick ones first: where they find nothing, what the others could find is not enough.
_SIGNS: Mapping[str, Callable[[str, str, int], float]] = {
    "emoji": _emoji,
    "exclamations": _exclamations,
    "money": _money,
    "phrases": _phrases,
    "links": _links,
    "capitals": _capitals,
    "keywords": _keywords,
    "phone": _phone,
}
