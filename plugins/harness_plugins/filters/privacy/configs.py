"""Settings of the filters of personal data, secrets and unsafe content."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.specs import Config

Kind = Literal["email", "phone", "card", "iban", "national_id", "ip", "address", "birth_date"]
NationalNumber = Literal[
    "au.tfn",
    "br.cpf",
    "ca.sin",
    "de.idnr",
    "es.dni",
    "es.nie",
    "fr.nir",
    "gb.nhs",
    "gb.nino",
    "in_.aadhaar",
    "in_.pan",
    "it.codicefiscale",
    "nl.bsn",
    "pl.pesel",
    "se.personnummer",
    "us.itin",
    "us.ssn",
]
"""As python-stdnum names its modules, but for `gb.nino`, which it lacks."""


class PiiConfig(Config):
    kinds: tuple[Kind, ...] = ("email", "phone", "card", "iban", "national_id", "ip", "address", "birth_date")
    """What is looked for."""
    regions: tuple[str, ...] = Field(default=("US",), min_length=1)
    """Countries (ISO 3166, two letters) whose phone numbers are known without a country code. Numbers with `+` always
    are."""
    national: tuple[NationalNumber, ...] = ("us.ssn", "us.itin", "gb.nino", "gb.nhs", "de.idnr", "fr.nir", "ca.sin")
    """Numbers that states give people."""
    placeholder: Literal["numbered", "tag"] = "numbered"
    """`[EMAIL_1]`, the same for the same address throughout a record, or `[EMAIL]` for all."""
    fictitious: bool = False
    """Also what is nobody's: example.com, exchange 555, test cards, the IBANs of manuals, 123 Main Street."""
    private_ips: bool = False
    """Also addresses of private, local and documentation networks."""
    tools: bool = False
    """Also the tools. What is found there cannot be rewritten, for it may say what a call has to be."""


class SecretsConfig(Config):
    fictitious: bool = False
    """Also what is no secret by its looks: EXAMPLE in it, a sequence, a single character over and over."""
    keywords: bool = False
    """Also any value in quotes that is assigned to a name such as `password`."""
    entropy: bool = False
    """Also quoted strings that look random: hashes and encoded data as well as keys."""
    tools: bool = True
    """Also the tools. What is found there cannot be rewritten, for it may say what a call has to be."""


class UnsafeConfig(Config):
    threshold: float = Field(default=1.0, gt=0)
    """Sum of the weights of different terms of one reason, in one text, from which on it is a flaw. Of the lexicon's
    terms, strong ones weigh 1 and mild ones 0.5."""
    extra: dict[str, float] = Field(default_factory=dict)
    """Words or phrases of one's own, in small letters, with their weights; their reason is `listed`."""
    answers_only: bool = False
    """Leave what is asked unread."""
