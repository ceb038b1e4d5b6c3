"""Personal data in words rather than numbers: e-mail, network and street addresses, dates of birth.

Kept narrow: text is full of capitalized words after numbers, of dates, and of version numbers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from harness_plugins.filters.privacy.numbers import Finder, said_before
from harness_plugins.filters.privacy.redaction import Span

# ---------------------------------------------------------------- e-mail

_EMAIL = re.compile(
    r"(?<![\w.%+-])[\w%+-][\w.%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}([A-Za-z]{2,24})(?![\w-])"
)
_NO_TLD = {"png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "py", "html"}
# RFC 2606 and 6761: nobody's, for ever.
_RESERVED = re.compile(r"(?:^|\.)(?:example\.(?:com|net|org|edu)|example|test|invalid|localhost|local)$")


def emails(fictitious: bool) -> Finder:
    def find(text: str) -> Iterator[Span]:
        for found in _EMAIL.finditer(text) if "@" in text else ():
            address = found[0].lower()
            user, domain = address.rsplit("@", 1)
            # user:password@host of a URL is no address, and git@host is everybody's.
            url = re.search(r"://[^\s/?#]*$", text[max(0, found.start() - 80) : found.start()])
            if url or user == "git" or found[1].lower() in _NO_TLD:
                continue
            if fictitious or not _RESERVED.search(domain):
                yield Span(found.start(), found.end(), "email", address)

    return find


# ---------------------------------------------------------------- networks

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?![\w.]*\d)(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:.]*[0-9A-Fa-f:])")
_VERSION = re.compile(r"(?:\bv|version|release|build|firmware|section|chapter|[a-z]/)\W{0,3}$", re.IGNORECASE)
_HOST = re.compile(r"\bips?\b|_ip\b|\bip_|address|\bhosts?\b|server|\bping\b", re.IGNORECASE)
# Resolvers that everybody asks, and the address of examples.
_PUBLIC = {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220", "1.2.3.4"}


def ip_addresses(private: bool) -> Finder:
    def find(text: str) -> Iterator[Span]:
        for found in _IPV4.finditer(text):
            if _VERSION.search(text, max(0, found.start() - 12), found.start()) or found[0] in _PUBLIC:
                continue
            # Numbers of chapters and builds are small.
            small = all(int(octet) < 20 for octet in found[0].split("."))
            if small and not said_before(text, found.start(), _HOST):
                continue
            address = ipaddress.ip_address(found[0])
            if private or (address.is_global and not address.is_multicast):
                yield Span(found.start(), found.end(), "ip", found[0])
        for found in _IPV6.finditer(text) if text.count(":") > 1 else ():
            if (key := _ipv6(found[0], private)) is not None:
                yield Span(found.start(), found.end(), "ip", key)

    return find


def _ipv6(written: str, private: bool) -> str | None:
    """Its usual form if it is one, and somebody's: 2000::/3 is all that is given out; `a::b` is code."""
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return None
    given = int(address) >> 125 == 1 and address.is_global
    return str(address) if given or (private and written.count(":") > 2) else None


# ---------------------------------------------------------------- street addresses

_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Terrace|Place|Pl|Parkway|Pkwy|Way|Circle"
    r"|Square|Highway|Hwy)\b\.?"
)
_UNIT = r"(?:,? (?:Apt|Apartment|Unit|Suite|Ste|Flat|#)\.? ?#?\w{1,5})"
_TOWN = r"(?:,? (?:[A-Z][a-z]+ ?){1,3},? [A-Z]{2}\.? \d{5}(?:-\d{4})?)"
_ADDRESS = re.compile(
    r"(?<![\w.,$/-])(\d{1,5})[A-Za-z]? (?:[NSEW]\.? )?((?:[A-Z][a-z]+|\d{1,3}(?:st|nd|rd|th))(?: [A-Z][a-z]+){0,3}?"
    rf" {_STREET}){_UNIT}?{_TOWN}?"
)
_HOME = re.compile(
    r"address|\blive[sd]? (?:at|on)|living (?:at|on)|\breside[sd]? at|\bship(?:ped|ping)?\b|\bdeliver|\bmail(?:ing)?\b"
    r"|\bhome\b|(?:my|his|her|our|their|your|'s) house\b|\bmoved? to\b|\bbilling\b|\bpick (?:me|him|her|us|them) up\b",
    re.IGNORECASE,
)
# Of forms and films.
_NOBODYS = re.compile(
    r"123 |(?:1234|12345|456|789) (?:Main|First|Elm|Oak|Maple|Pine) "
    r"|742 Evergreen|1600 Pennsylvania|1600 Amphitheatre|10 Downing|221B? Baker|4 Privet"
)


def street_addresses(fictitious: bool) -> Finder:
    """American and British ones, with a hint that it is somebody's: a unit, a town with its code, or a word before."""

    def find(text: str) -> Iterator[Span]:
        for found in _ADDRESS.finditer(text):
            evident = len(found[0]) > found.end(2) - found.start() or said_before(text, found.start(), _HOME)
            if evident and (fictitious or not _NOBODYS.match(found[0])):
                yield Span(found.start(), found.end(), "address", found[0].casefold())

    return find


# ---------------------------------------------------------------- dates of birth

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d\d)"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\d{{1,2}}(?:st|nd|rd|th)?\.? (?:of )?{_MONTH},? \d{{4}})(?!\d)"
)
# "(born May 3, 1960)" is how encyclopedias begin, so born alone says nothing.
_BIRTH = re.compile(
    r"(?:date[ _-]?of[ _-]?birth|\bdob\b|birth[ _-]?da(?:te|y)|\bI(?:'m| am| was)? born(?: on)?)"
    rf"(?:\W{{0,4}}(?:is|was|on|:))?\W{{1,6}}({_DATE})",
    re.IGNORECASE,
)


def birth_dates(text: str) -> Iterator[Span]:
    for found in _BIRTH.finditer(text):
        yield Span(found.start(1), found.end(1), "birth_date", found[1].casefold())
