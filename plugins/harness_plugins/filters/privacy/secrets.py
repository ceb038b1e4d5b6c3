"""Keys, tokens and passwords in text, found by detect-secrets' detectors and some of ours, and replaced by `[SECRET]`.

Nothing is verified over the network. Detectors are used without detect-secrets' scanner, whose settings are global to
the process and which skips lines that say `pragma: allowlist secret`, as data may.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from detect_secrets.filters import heuristic
from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString, HexHighEntropyString
from detect_secrets.plugins.keyword import KeywordDetector

from harness.data.record import Flaw, Record
from harness_plugins.filters.privacy.configs import SecretsConfig
from harness_plugins.filters.privacy.detectors import Pattern, patterns
from harness_plugins.filters.privacy.redaction import Span, apart, redact

_TOKEN = re.compile(r"[A-Za-z0-9_\-+/=]*")
_JWT_REST = re.compile(r"[A-Za-z0-9_\-.]*")
# Of manuals: the word example, or a stand-in for whatever is one's own.
_STAND_IN = re.compile(
    r"example|x{6}|\*{3}|\.{3}|^(?:your|my)[_-]|^(?:pass(?:word|wd|wort|phrase)?|pw|pwd|secret|token|changeme)$",
    re.IGNORECASE,
)
FEW = 4
"""Different characters, after the prefix of a token, that a real one has more of."""


class Secrets:
    def __init__(self, config: SecretsConfig) -> None:
        self.config = config
        # One search for what many patterns need.
        self.patterns: dict[tuple[re.Pattern[str], ...], list[Pattern]] = {}
        for pattern in patterns():
            self.patterns.setdefault(pattern.needs, []).append(pattern)
        self.keyword = KeywordDetector()
        self.entropy = (Base64HighEntropyString(), HexHighEntropyString())

    def check(self, record: Record) -> Sequence[Flaw]:
        return redact(record, self.find, lambda reason, number: "[SECRET]", tools=self.config.tools)

    def find(self, text: str) -> Sequence[Span]:
        """Spans of secrets, each from its first to its last character."""
        found = list(self._matches(text))
        if self.config.keywords or self.config.entropy:
            found += self._quoted(text)
        return apart(found)

    def _matches(self, text: str) -> Iterator[Span]:
        for needs, sharing in self.patterns.items():
            if all(need.search(text) for need in needs):
                for pattern in sharing:
                    for match in pattern.regex.finditer(text):
                        if (span := self._span(text, match, pattern)) is not None:
                            yield span

    def _span(self, text: str, match: re.Match[str], pattern: Pattern) -> Span | None:
        start, end = match.span(pattern.group)
        # Some patterns take what stands around the token.
        start += len(text[start:end]) - len(text[start:end].lstrip('\t\n\r "=:'))
        end -= len(text[start:end]) - len(text[start:end].rstrip('\t\n\r "'))
        # In the midst of a longer word it is chance.
        if pattern.group == 0 and start and text[start - 1].isascii() and text[start - 1].isalnum():
            return None
        if pattern.valid is not None and not pattern.valid(text[start:end]):
            return None
        if pattern.reason == "jwt":
            end = _end(_JWT_REST, text, end)
        elif pattern.reason not in ("private_key", "basic_auth"):
            # Tokens have grown longer than the patterns.
            end = _end(_TOKEN, text, end)
        secret = text[start:end]
        return Span(start, end, pattern.reason, secret) if self.config.fictitious or _looks_real(secret) else None

    def _quoted(self, text: str) -> Iterator[Span]:
        at = 0
        for line in text.splitlines(keepends=True):
            values = [("keyword", value) for value in self.keyword.analyze_string(line)] if self.config.keywords else []
            for plugin in self.entropy if self.config.entropy else ():
                random = (
                    v for v in plugin.analyze_string(line) if plugin.calculate_shannon_entropy(v) > plugin.entropy_limit
                )
                values += [("entropy", value) for value in random]
            for reason, value in values:
                if self.config.fictitious or (_looks_real(value) and not heuristic.is_potential_uuid(value)):
                    for found in re.finditer(re.escape(value), line):
                        yield Span(at + found.start(), at + found.end(), reason, value)
            at += len(line)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _looks_real(secret: str) -> bool:
    """detect-secrets' own rules of what is none, and stand-ins."""
    return not (
        heuristic.is_sequential_string(secret)
        or heuristic.is_templated_secret(secret)
        or heuristic.is_prefixed_with_dollar_sign(secret)
        or _STAND_IN.search(secret)
        or len(set(secret[10:])) <= FEW < len(secret[10:])
    )
