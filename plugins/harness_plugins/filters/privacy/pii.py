"""Personal data in text: found by shapes, check digits and what stands before them, and replaced by placeholders.

Names of people are not looked for. What finds them is a model: presidio-analyzer is 0.3 MB, but asks for spaCy (33 MB
as a wheel, over 100 MB with what it needs) and for a language model that its authors publish on no package index
(12 MB and more; what is there under such names was uploaded by others). Without the model presidio has what is here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.data.record import Flaw, Record
from harness_plugins.filters.privacy.configs import PiiConfig
from harness_plugins.filters.privacy.entities import birth_dates, emails, ip_addresses, street_addresses
from harness_plugins.filters.privacy.numbers import Finder, cards, ibans, national_numbers, phones
from harness_plugins.filters.privacy.redaction import Span, apart, redact

# All that has neither is none of them.
_ANY = re.compile(r"[@\d]")


class Pii:
    def __init__(self, config: PiiConfig) -> None:
        # What is named first has a span that several claim.
        finders: dict[str, Finder] = {
            "email": emails(config.fictitious),
            "iban": ibans(config.fictitious),
            "card": cards(config.fictitious),
            "national_id": national_numbers(config.national, config.fictitious),
            "ip": ip_addresses(config.private_ips),
            "phone": phones(config.regions, config.fictitious),
            "birth_date": birth_dates,
            "address": street_addresses(config.fictitious),
        }
        self.finders = [finder for kind, finder in finders.items() if kind in config.kinds]
        self.placeholder = _numbered if config.placeholder == "numbered" else _tag
        self.tools = config.tools

    def check(self, record: Record) -> Sequence[Flaw]:
        return redact(record, self.find, self.placeholder, tools=self.tools)

    def find(self, text: str) -> Sequence[Span]:
        """Spans of personal data. What stands before a number may say what it is, so give the whole text."""
        if not _ANY.search(text):
            return ()
        return apart([span for finder in self.finders for span in finder(text)])


def _numbered(reason: str, number: int) -> str:
    return f"[{reason.upper()}_{number}]"


def _tag(reason: str, number: int) -> str:
    return f"[{reason.upper()}]"
