"""What this package registers. Nothing heavy is imported until a filter is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from harness.protocols import Filter, RunContext
from harness.specs import FilterSpec
from harness_plugins.filters.privacy.configs import PiiConfig, SecretsConfig, UnsafeConfig


def _lazy(module: str, name: str) -> Callable[[Any, RunContext], Filter]:
    """`create` of a filter whose module, and the libraries that it needs, are imported when it is made."""

    def create(config: Any, context: RunContext) -> Filter:
        made: Filter = getattr(import_module(f"harness_plugins.filters.privacy.{module}"), name)(config)
        return made

    return create


SPECS: tuple[FilterSpec, ...] = (
    FilterSpec(
        "pii",
        "Personal data: addresses, phone, card and other numbers; rewritten",
        _lazy("pii", "Pii"),
        PiiConfig,
        reasons={
            "email": "an e-mail address",
            "phone": "a phone number that exists in its country",
            "card": "a payment card number: an issuer's, with a right check digit",
            "iban": "a bank account, with right check digits",
            "national_id": "a number that a state gives a person",
            "ip": "an IP address",
            "address": "a street address with a hint that somebody lives there",
            "birth_date": "a date that is said to be that of a birth",
        },
    ),
    FilterSpec(
        "secrets",
        "Keys, tokens and passwords; rewritten",
        _lazy("secrets", "Secrets"),
        SecretsConfig,
        reasons={
            "private_key": "a private key, whole or in part",
            "aws": "an AWS key",
            "azure": "an Azure storage key",
            "google": "a Google API key",
            "cloud": "a key of IBM Cloud, Cloudant, SoftLayer or Artifactory",
            "github": "a GitHub token",
            "gitlab": "a GitLab token",
            "registry": "a token of a package registry (npm, PyPI)",
            "model_api": "a key of OpenAI, Anthropic or Hugging Face",
            "messaging": "a token of Slack, Discord, Telegram, Twilio, SendGrid or Mailchimp",
            "payment": "a key of Stripe or Square",
            "jwt": "a JSON Web Token",
            "basic_auth": "a password in a URL",
            "keyword": "a value assigned to a name such as password (setting keywords)",
            "entropy": "a string that looks random (setting entropy)",
        },
    ),
    FilterSpec(
        "unsafe",
        "Words of abuse, sex, self-harm and dangerous requests, from a lexicon",
        _lazy("unsafe", "Unsafe"),
        UnsafeConfig,
        reasons={
            "profanity": "strong swearing",
            "slur": "a word that demeans a group",
            "sexual": "explicit sexual words",
            "self_harm": "wishes or ways to harm oneself",
            "hazard": "asks for, or gives, ways to harm: weapons, drugs, malware, fraud, violence",
            "listed": "one's own terms (setting extra)",
        },
    ),
)
