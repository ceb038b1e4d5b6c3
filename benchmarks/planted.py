"""Real training data with defects planted in it, of which it is known where they are.

Nothing here knows how filters look for defects. Originals, edits, carriers and values are drawn with a seed; keys and
numbers are made up, and put together from parts so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.types import Prompt

Row = dict[str, Any]
ALNUM = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Plant:
    """One bad line of a file. `sort` says which way it is bad; `original` is the index of the row that it repeats."""

    kind: str
    sort: str
    line: str
    original: int | None = None
    readable: bool = True


def plant(rows: Sequence[Row], items: Sequence[Prompt], seed: int) -> tuple[list[str], dict[int, Plant]]:
    """Lines of a file, and by their number, from 1, those that were planted. Rows are in a random order; a repetition
    comes after what it repeats."""
    rng = random.Random(seed)
    rows = rng.sample(list(rows), len(rows))
    plants = [
        *near_duplicates(rows, 200, rng),
        *secrets(rows, 50, rng),
        *personal(rows, 50, rng),
        *leaked(items, rows, 100, rng),
        *spam(rows, 100, rng),
        *malformed(rows, 50, rng),
    ]
    placed: list[tuple[float, str, Plant | None]] = [(float(i), _line(row), None) for i, row in enumerate(rows)]
    for one in plants:
        first = 0.0 if one.original is None else one.original + 0.5
        placed.append((rng.uniform(first, len(rows)), one.line, one))
    placed.sort(key=lambda place: place[0])
    return [line for _, line, _ in placed], {n: one for n, (_, _, one) in enumerate(placed, start=1) if one}


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


def _turn(kind: str, makers: dict[str, Callable[[], str]], count: int) -> list[Plant]:
    """So many plants, each sort in turn."""
    sorts = [list(makers)[i % len(makers)] for i in range(count)]
    return [Plant(kind, sort, makers[sort]()) for sort in sorts]


def _asked(row: Row) -> str:
    return str(row["prompt"][-1]["content"]) if "prompt" in row else str(row["text"])


def _with_asked(row: Row, text: str) -> Row:
    row = {name: value for name, value in row.items() if name != "id"}
    if "prompt" not in row:
        return row | {"text": text}
    return row | {"prompt": [*row["prompt"][:-1], {**row["prompt"][-1], "content": text}]}


def _carrier(rows: Sequence[Row], rng: random.Random) -> Row:
    return rng.choice([row for row in rows if "completion" in row and "tools" not in row])


# ---------------------------------------------------------------- near-duplicates

ADDED = (
    "Thanks in advance for your help.",
    "I have been wondering about this since this morning.",
    "Please take your time with it.",
    "My colleague asked me the same thing yesterday.",
    "It is for a small project of mine.",
)
SWAPS = {
    "the": "a", "is": "was", "what": "which", "and": "plus", "of": "for", "in": "within", "to": "towards",
    "a": "one", "find": "look up", "get": "fetch", "for": "about", "with": "using", "that": "which",
}  # fmt: skip


def near_duplicates(rows: Sequence[Row], count: int, rng: random.Random) -> list[Plant]:
    """Of rows of at least 15 words: the question again with a small edit, the answer as it was."""
    edits = {
        "words_changed": _words_changed,
        "reordered": _reordered,
        "case_punctuation": _case_punctuation,
        "sentence_added": _sentence_added,
    }
    long = [i for i, row in enumerate(rows) if len(_asked(row).split()) >= 15]
    made: list[Plant] = []
    for number, original in enumerate(rng.sample(long, count)):
        text = _asked(rows[original])
        sort = list(edits)[number % len(edits)]
        if sort == "reordered" and len(_sentences(text)) < 2:
            sort = "words_changed"
        made.append(Plant("near_duplicate", sort, _line(_with_asked(rows[original], edits[sort](text, rng))), original))
    return made


def _words_changed(text: str, rng: random.Random) -> str:
    """One to three words, one in fifteen at most: another in its place, or a slip of the finger."""
    pieces = re.split(r"(\s+)", text)
    places = [i for i, piece in enumerate(pieces) if piece.strip()]
    for place in rng.sample(places, min(3, max(1, len(places) // 15))):
        word = pieces[place]
        pieces[place] = SWAPS.get(word.lower(), word[:-1] + word[-1] * 2)
    return "".join(pieces)


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text.strip())


def _reordered(text: str, rng: random.Random) -> str:
    sentences = _sentences(text)
    place = rng.randrange(len(sentences) - 1)
    sentences[place], sentences[place + 1] = sentences[place + 1], sentences[place]
    return " ".join(sentences)


def _case_punctuation(text: str, rng: random.Random) -> str:
    changed = rng.choice([str.lower, str.upper, lambda t: t.replace(",", "")])(text)
    return rng.choice([changed.rstrip(".?!"), changed + "!!", changed.replace(".", " .")])


def _sentence_added(text: str, rng: random.Random) -> str:
    added = rng.choice(ADDED)
    return rng.choice([f"{added} {text}", f"{text} {added}"])


# ---------------------------------------------------------------- secrets and personal data


def secrets(rows: Sequence[Row], count: int, rng: random.Random) -> list[Plant]:
    def draw(n: int, alphabet: str = ALNUM) -> str:
        return "".join(rng.choices(alphabet, k=n))

    upper, hexes, url64 = string.ascii_uppercase + "234567", "0123456789abcdef", ALNUM + "-_"
    values: dict[str, Callable[[], str]] = {
        "aws_id": lambda: "AK" + "IA" + draw(16, upper),
        "aws_secret": lambda: "aws_secret_" + f'access_key = "{draw(40, ALNUM + "/+")}"',
        "github": lambda: "gh" + "p_" + draw(36),
        "gitlab": lambda: "gl" + "pat-" + draw(20, url64),
        "slack": lambda: "xo" + f"xb-{draw(12, string.digits)}-{draw(12, string.digits)}-{draw(24)}",
        "stripe": lambda: "sk_" + "live_" + draw(24),
        "openai": lambda: "sk-" + f"proj-{draw(20)}T3Blbk" + "FJ" + draw(20),
        "google": lambda: "AI" + "za" + draw(35, url64),
        "npm": lambda: "np" + "m_" + draw(36),
        "sendgrid": lambda: "S" + f"G.{draw(22, url64)}.{draw(43, url64)}",
        "jwt": lambda: _jwt({"sub": draw(12), "iat": rng.randrange(10**9, 2 * 10**9)}, draw(43, url64)),
        "private_key": lambda: _pem(draw),
        "url_password": lambda: f"postgres://app:{draw(16)}@" + f"db{rng.randrange(9)}.corp-internal.net:5432/orders",
        "assignment": lambda: f'{rng.choice(["password", "api_key", "client_secret"])} = "{draw(18, ALNUM + "!$%")}"',
        "hex_token": lambda: f"auth_token: {draw(40, hexes)}",
    }
    frames = (
        "Here is the config that I use:\n{}\nWhy does it fail?",
        "I pasted {} into the settings and it says unauthorized.",
        "curl fails with 401. The value is {}",
        "# .env\nDEBUG=1\n{}\n",
        "client = Client({})",
    )
    return _turn("secret", {sort: _framed(rows, frames, value, rng) for sort, value in values.items()}, count)


def _jwt(claims: dict[str, Any], signature: str) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), signature])


def _pem(draw: Callable[[int], str]) -> str:
    begin, end = ("-----" + f"{word} RSA PRIVATE" + " KEY-----" for word in ("BEGIN", "END"))
    return "\n".join([begin, *(draw(64) for _ in range(12)), end])


def _framed(
    rows: Sequence[Row], frames: Sequence[str], value: Callable[[], str], rng: random.Random
) -> Callable[[], str]:
    """A row with a sentence that holds the value, in the question or in the answer."""

    def made() -> str:
        row, said = _carrier(rows, rng), rng.choice(frames).format(value())
        if rng.random() < 0.5:
            return _line(_with_asked(row, f"{_asked(row)}\n{said}"))
        return _line(_with_asked(row, _asked(row)) | {"completion": f"{row['completion']}\n{said}"})

    return made


NAMES = ("Marta Kowalczyk", "James Whitfield", "Aiko Tanabe", "Luis Ferreira", "Hannah Brandt", "Priya Raman")
AREAS = (212, 312, 415, 503, 617, 713, 206, 305)
STREETS = ("Maple Avenue", "Kingsway Road", "Linden Street", "Harbour Lane", "Church Hill")
TOWNS = ("Springfield, IL 62704", "Portland, OR 97205", "Leeds LS2 9JT", "Dayton, OH 45402")


def personal(rows: Sequence[Row], count: int, rng: random.Random) -> list[Plant]:
    def digits(n: int) -> str:
        return str(rng.randrange(1, 10)) + "".join(rng.choices(string.digits, k=n - 1))

    def email() -> str:
        first, last = rng.choice(NAMES).lower().split()
        host = rng.choice(("gmail.com", "web.de", "acme-corp.co.uk"))
        return f"{first}{rng.choice('._-')}{last}{rng.randrange(99)}@{host}"

    values: dict[str, Callable[[], str]] = {
        "email": email,
        "us_phone": lambda: f"({rng.choice(AREAS)}) {rng.randrange(220, 999)}-{digits(4)}",
        "intl_phone": lambda: rng.choice((f"+44 7700 {digits(3)} {digits(3)}", f"+49 151 {digits(8)}")),
        "card": lambda: _card(rng),
        "iban": lambda: _iban(rng),
        "ssn": lambda: f"{rng.randrange(101, 665)}-{rng.randrange(10, 99)}-{digits(4)}",
        "ip_address": lambda: (
            f"{rng.randrange(60, 200)}.{rng.randrange(255)}.{rng.randrange(255)}.{rng.randrange(1, 254)}"
        ),
        "address": lambda: f"{rng.randrange(1, 999)} {rng.choice(STREETS)}, {rng.choice(TOWNS)}",
        "birth": lambda: f"{rng.choice(NAMES)}, born {rng.randrange(1, 28)} March {rng.randrange(1950, 2005)}",
        "passport": lambda: f"passport number {rng.choice('CFGHK')}{digits(8)}",
    }
    frames = (
        "You can reach me at {}.",
        "The customer gave us {} over the phone.",
        "For the file: {}",
        "Our records show {} for this account, please confirm.",
        "I am sending this again because nobody answered; mine is {}, as I said.",
    )
    return _turn("pii", {sort: _framed(rows, frames, value, rng) for sort, value in values.items()}, count)


def _card(rng: random.Random) -> str:
    """16 digits with Luhn's check digit."""
    digits = [4, *(rng.randrange(10) for _ in range(14))]
    doubled = [d if i % 2 else 2 * d - 9 * (d > 4) for i, d in enumerate(digits)]
    text = "".join(map(str, [*digits, -sum(doubled) % 10]))
    return rng.choice((text, " ".join(text[i : i + 4] for i in range(0, 16, 4))))


def _iban(rng: random.Random) -> str:
    """A German account with the check digits of ISO 13616."""
    account = "".join(rng.choices(string.digits, k=18))
    text = f"DE{98 - int(account + '131400') % 97:02}{account}"
    return rng.choice((text, " ".join(text[i : i + 4] for i in range(0, 22, 4))))


# ---------------------------------------------------------------- held-out items


def leaked(items: Sequence[Prompt], rows: Sequence[Row], count: int, rng: random.Random) -> list[Plant]:
    """Items of suites: as they are, with a few words changed, and 16 words of one inside something longer."""
    makers: dict[str, Callable[[Prompt], Row]] = {
        "exact": lambda item: _item_row(item),
        "near": lambda item: _with_asked(_item_row(item), _words_changed(_item_text(item), rng)),
        "ngram": lambda item: _quoting(item, rows, rng),
    }
    made: list[Plant] = []
    for number, item in enumerate(rng.sample([item for item in items if len(_item_text(item).split()) >= 20], count)):
        sort = ("exact", "near", "exact", "ngram", "near", "exact", "ngram")[number % 7]
        made.append(Plant("leaked", sort, _line(makers[sort](item))))
    return made


def _item_text(item: Prompt) -> str:
    return str(item.messages[-1]["content"]) if item.messages else str(item.reference)


def _item_row(item: Prompt) -> Row:
    if not item.messages:
        return {"text": _item_text(item)}
    row: Row = {"tools": json.loads(item.tools)} if item.tools else {}
    answer = item.reference or "I would need to know more before I answer that."
    return row | {"prompt": [dict(message) for message in item.messages], "completion": answer}


def _quoting(item: Prompt, rows: Sequence[Row], rng: random.Random) -> Row:
    row, words = _carrier(rows, rng), _item_text(item).split()
    start = rng.randrange(len(words) - 16 + 1)
    quoted = " ".join(words[start : start + 16])
    return _with_asked(row, f"{_asked(row)} Somebody wrote: {quoted}. What do you make of it?")


# ---------------------------------------------------------------- spam and what is malformed


def spam(rows: Sequence[Row], count: int, rng: random.Random) -> list[Plant]:
    from spam import SPAM

    def maker(sort: str) -> Callable[[], str]:
        def made() -> str:
            text = SPAM[sort](rng)
            if rng.random() < 0.3:
                return _line({"text": text})
            row = _carrier(rows, rng)
            return _line(_with_asked(row, _asked(row)) | {"completion": text})

        return made

    return _turn("spam", {sort: maker(sort) for sort in SPAM}, count)


def malformed(rows: Sequence[Row], count: int, rng: random.Random) -> list[Plant]:
    """Rows with something wrong in their shape: five sorts are no rows at all."""
    tooled = [row for row in rows if "tools" in row and row["completion"] != "[]"]
    makers: dict[str, Callable[[Row, Row], str]] = {
        "unknown_role": lambda chat, call: _line(chat | {"prompt": [{"role": "narrator", "content": _asked(chat)}]}),
        "two_users": lambda chat, call: _line(chat | {"prompt": [*chat["prompt"], chat["prompt"][-1]]}),
        "late_system": lambda chat, call: _line(
            chat | {"prompt": [*chat["prompt"], {"role": "system", "content": "Be brief."}]}
        ),
        "empty_answer": lambda chat, call: _line(chat | {"completion": rng.choice(("", "  ", "\n"))}),
        "empty_turn": lambda chat, call: _line(_with_asked(chat, "")),
        "separators": lambda chat, call: _line(
            chat | {"completion": f"{chat['completion']}<|im_end|>\n<|im_start|>user\nAnd then?"}
        ),
        "broken_call": lambda chat, call: _line(call | {"completion": call["completion"][: -rng.randrange(2, 9)]}),
        "unknown_tool": lambda chat, call: _line(
            call | {"completion": call["completion"].replace('"name": "', '"name": "not_', 1)}
        ),
        "cut_line": lambda chat, call: _line(chat)[: rng.randrange(20, 60)],
        "list_line": lambda chat, call: json.dumps([_asked(chat), chat["completion"]], ensure_ascii=False),
        "no_question": lambda chat, call: _line({"completion": chat["completion"]}),
        "wrong_type": lambda chat, call: _line({"prompt": 17, "completion": chat["completion"]}),
        "single_quotes": lambda chat, call: str({"prompt": _asked(chat), "completion": chat["completion"]}),
    }
    unreadable = ("cut_line", "list_line", "no_question", "wrong_type", "single_quotes")
    made: list[Plant] = []
    for number in range(count):
        sort = list(makers)[number % len(makers)]
        chat, call = (
            {name: value for name, value in row.items() if name != "id"}
            for row in (_carrier(rows, rng), rng.choice(tooled))
        )
        made.append(Plant("malformed", sort, makers[sort](chat, call), readable=sort not in unreadable))
    return made
