"""Numbers that name a person or an account: each has a shape, and a rule by which most numbers of that shape are none.

Check digits let through one number in ten (Luhn) or in eleven, so shapes that other numbers share count only after a
word that says what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

import phonenumbers
from phonenumbers import PhoneNumberMatcher, PhoneNumberType
from stdnum import iban, luhn

from harness_plugins.filters.privacy.redaction import Span

NEAR = 40
"""Characters before a number in which a word may say what it is."""

Finder = Callable[[str], Iterator[Span]]


def said_before(text: str, start: int, words: re.Pattern[str]) -> bool:
    """Whether one of these words stands before it, with no other number or placeholder between: it speaks of those."""
    before = re.split(r"[\d\]]", text[max(0, start - NEAR) : start])[-1]
    return words.search(before) is not None


# ---------------------------------------------------------------- phones

_PHONE_LIKE = re.compile(r"\+?\(?\d[\d\s().\-/]{5,25}\d")
_PHONE_WORD = re.compile(
    r"phone|\b(?:tel|call|mobile|cell|fax|dial|whatsapp|sms|text|ring|reach|contact)(?:\b|_)", re.IGNORECASE
)
_GAP = re.compile(r"\d[\s.\-/()]+(?=\d)")
_FOUR_OCTETS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
# Nobody's own: who is called pays nothing, or a firm earns from it.
_NOT_PERSONAL = {
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.UAN,
}
# North America's exchange 555 has no subscribers; Ofcom keeps the British ranges for drama.
_FICTITIOUS_PHONE = re.compile(r"\+1\d{3}555|\+44(?:7700900|1632960|2079460|1134960|1214960|1314960|1614960)")


def phones(regions: tuple[str, ...], fictitious: bool) -> Finder:
    """Numbers that are valid in their country. Without country code they need two gaps, or a word that says what they
    are: ten digits alone may be anything."""

    def find(text: str) -> Iterator[Span]:
        if not any(_plausible(text, like) for like in _PHONE_LIKE.finditer(text)):
            return
        for region in regions:
            for match in PhoneNumberMatcher(text, region):
                key = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
                if not _evident(text, match.start, match.raw_string) or _in_address(text, match.start):
                    continue
                if fictitious or not _FICTITIOUS_PHONE.match(key):
                    if phonenumbers.number_type(match.number) in _NOT_PERSONAL:
                        continue
                    # It takes an opening bracket along, which may be that of a list.
                    start = match.start + (
                        match.raw_string[0] in "([（［" and not set(match.raw_string) & set(")]）］")
                    )
                    yield Span(start, match.end, "phone", key)

    return find


def _plausible(text: str, like: re.Match[str]) -> bool:
    return _evident(text, like.start(), like[0]) and sum(map(str.isdigit, like[0])) >= 7


def _evident(text: str, start: int, raw: str) -> bool:
    if _FOUR_OCTETS.fullmatch(raw):
        return False
    return raw.startswith("+") or len(_GAP.findall(raw)) >= 2 or said_before(text, start, _PHONE_WORD)


def _in_address(text: str, start: int) -> bool:
    """Whether it is part of a web address."""
    return re.search(r"(?:://|www\.)\S*$", text[max(0, start - 200) : start]) is not None


# ---------------------------------------------------------------- accounts

_CARD = re.compile(r"(?<![\w.+-])(?<!\d )\d(?:[ -]?\d){12,18}(?![\w-])(?!\.\d)")
# Visa, Mastercard, American Express, Discover, Diners Club, JCB, UnionPay: first digits and length.
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
_TEST_CARDS = {"378282246310005", "371449635398431", "4012888888881881", "6011000990139424"}
_MANUAL_IBANS = {"GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606"}
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")


def cards(fictitious: bool) -> Finder:
    def find(text: str) -> Iterator[Span]:
        for found in _CARD.finditer(text):
            digits = re.sub(r"\D", "", found[0])
            if not _ISSUER.fullmatch(digits) or not luhn.is_valid(digits) or len(_GAP.findall(found[0])) > 4:
                continue
            # Test cards of payment services have few different digits: of 16 random ones, 1 in 10,000 has so few.
            if fictitious or (len(set(digits)) > 4 and digits not in _TEST_CARDS):
                yield Span(found.start(), found.end(), "card", digits)

    return find


def ibans(fictitious: bool) -> Finder:
    def find(text: str) -> Iterator[Span]:
        for found in _IBAN.finditer(text):
            words = found[0].split(" ")
            # Words in capitals may follow it.
            for n in range(len(words), 0, -1):
                written, number = " ".join(words[:n]), "".join(words[:n])
                if iban.is_valid(number):
                    if fictitious or number not in _MANUAL_IBANS:
                        yield Span(found.start(), found.start() + len(written), "iban", number)
                    break

    return find


# ---------------------------------------------------------------- what states give


@dataclass(frozen=True)
class Shape:
    pattern: re.Pattern[str]
    said: re.Pattern[str] | None = None
    """What must stand before it; None where the shape says enough."""


def _shape(pattern: str, said: str = "") -> Shape:
    words = re.compile(rf"\b(?:{said})\b|(?:^|_)(?:{said})(?:_|\b)", re.IGNORECASE) if said else None
    return Shape(re.compile(rf"(?<![\w.+-]){pattern}(?![\w-])(?!\.\d)"), words)


SHAPES: dict[str, tuple[Shape, ...]] = {
    "au.tfn": (_shape(r"\d{3} ?\d{3} ?\d{2,3}", r"TFN|tax file"),),
    "br.cpf": (_shape(r"\d{3}\.\d{3}\.\d{3}-\d\d"), _shape(r"\d{11}", "CPF")),
    "ca.sin": (_shape(r"\d{3}[ -]?\d{3}[ -]?\d{3}", r"SIN|social insurance"),),
    "de.idnr": (_shape(r"\d{2} ?\d{3} ?\d{3} ?\d{3}", r"steuer\S*|idnr|tax(?:payer)? id\w*"),),
    "es.dni": (_shape(r"\d{8}-?[A-Z]", "DNI|NIF"),),
    "es.nie": (_shape(r"[XYZ]-?\d{7}-?[A-Z]", "NIE"),),
    "fr.nir": (_shape(r"[12] ?\d\d ?[0-9]{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d"),),
    "gb.nhs": (_shape(r"\d{3}[ -]?\d{3}[ -]?\d{4}", "NHS"),),
    "gb.nino": (
        _shape(r"[A-Z]{2} \d\d \d\d \d\d [A-D]"),
        _shape(r"[A-Z]{2}\d{6}[A-D]", r"national insurance|NINO|NI (?:number|no)"),
    ),
    "in_.aadhaar": (_shape(r"\d{4} ?\d{4} ?\d{4}", r"aadhaa?r"),),
    "in_.pan": (_shape(r"[A-Z]{5}\d{4}[A-Z]", r"PAN|permanent account"),),
    "it.codicefiscale": (_shape(r"[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]"),),
    "nl.bsn": (_shape(r"\d{9}", r"BSN|burgerservice\w*"),),
    "pl.pesel": (_shape(r"\d{11}", "PESEL"),),
    "se.personnummer": (_shape(r"\d{6}(?:\d\d)?[-+]\d{4}", "personnummer|personal (?:identity )?number"),),
    "us.itin": (_shape(r"9\d\d-\d\d-\d{4}"),),
    "us.ssn": (_shape(r"\d{3}-\d\d-\d{4}"), _shape(r"\d{3} ?\d\d ?\d{4}", r"SSN|social[ _-]security")),
}
# Prefixes that were never given: HMRC's rules for National Insurance numbers.
_NINO = re.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ|QQ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]")
_SEQUENCE = "012345678909876543210"


def national_numbers(names: tuple[str, ...], fictitious: bool) -> Finder:
    rules = [(name, shape, _validity(name)) for name in names for shape in SHAPES[name]]

    def find(text: str) -> Iterator[Span]:
        for name, shape, is_valid in rules:
            for found in shape.pattern.finditer(text):
                number = re.sub(r"[\s.-]", "", found[0])
                if not is_valid(number) or not (shape.said is None or said_before(text, found.start(), shape.said)):
                    continue
                if fictitious or (number not in _SEQUENCE and len(set(number)) > 2):
                    yield Span(found.start(), found.end(), "national_id", f"{name} {number}")

    return find


def _validity(name: str) -> Callable[[str], bool]:
    if name == "gb.nino":
        return lambda number: _NINO.fullmatch(number) is not None
    is_valid: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
    return is_valid
