"""What a secret looks like: detect-secrets' detectors, and those that it lacks, each with the reason of its flaws."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from detect_secrets.plugins.artifactory import ArtifactoryDetector
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.cloudant import CloudantDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.ibm_cloud_iam import IbmCloudIamDetector
from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.softlayer import SoftlayerDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector


class GitHubFineGrainedDetector(RegexBasedDetector):
    secret_type = "GitHub fine-grained token"
    denylist = (re.compile(r"github_pat_[A-Za-z0-9_]{22,}"),)


class GoogleDetector(RegexBasedDetector):
    secret_type = "Google API key"
    denylist = (re.compile(r"AIza[A-Za-z0-9_-]{35}"), re.compile(r"ya29\.[A-Za-z0-9_-]{30,}"))


class ModelApiDetector(RegexBasedDetector):
    """OpenAI's keys of projects and accounts, Anthropic's, Hugging Face's."""

    secret_type = "Key of a model's API"
    denylist = (
        re.compile(r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,}"),
        re.compile(r"sk-ant-[a-z0-9]+-[A-Za-z0-9_-]{32,}"),
        re.compile(r"hf_[A-Za-z0-9]{30,}"),
    )


class NpmTokenDetector(RegexBasedDetector):
    secret_type = "npm token"
    denylist = (re.compile(r"npm_[A-Za-z0-9]{36}"),)


class SlackAppDetector(RegexBasedDetector):
    secret_type = "Slack app token"
    denylist = (re.compile(r"xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{32,}"),)


class AwsSecretDetector(RegexBasedDetector):
    """Without quotes, as in the AWS command line's own files."""

    secret_type = "AWS secret access key"
    denylist = (re.compile(r"(?i:aws_?secret_?access_?key)[\"']?\s*[=:]\s*[\"']?([A-Za-z0-9/+]{40})"),)


class PrivateKeyBlockDetector(RegexBasedDetector):
    """detect-secrets' detector of private keys finds a key's first line. This one finds all of the key, where there is
    at least a line of it: to name the header is no secret."""

    secret_type = "Private key with its lines"
    denylist = (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY(?: BLOCK)?-----(?:"
            # The whole of it, or, cut off, all lines of base64 and headers (`Proc-Type: ...`) that follow.
            r"(?=\s*[\w/+:])[^-]{16,20000}(?:-(?!----END)[^-]{0,20000}){0,50}-----END "
            r"[A-Z0-9 ]{0,20}PRIVATE KEY(?: BLOCK)?-----"
            r"|(?:\s+(?:[A-Z][\w-]+: [^\n]{1,80}|[A-Za-z0-9/+=]{16,}))+)"
        ),
        re.compile(r"PuTTY-User-Key-File-[23]:[\s\S]{1,20000}?Private-(?:MAC|Hash): ?[0-9a-f]+"),
    )


@dataclass(frozen=True)
class Pattern:
    """`group` of a match is the secret. `valid` says whether it is one after all. A match is only in text in which
    all of `needs` are: cheaper to look for, and shared by many."""

    reason: str
    regex: re.Pattern[str]
    group: int
    valid: Callable[[str], bool] | None
    needs: tuple[re.Pattern[str], ...]


# Their patterns name the assignment, or the URL, around the secret, which is the first group.
_AROUND = (BasicAuthDetector, CloudantDetector, IbmCloudIamDetector, IbmCosHmacDetector, SoftlayerDetector, NpmDetector)

DETECTORS: tuple[tuple[str, type[RegexBasedDetector]], ...] = (
    ("private_key", PrivateKeyBlockDetector),
    ("aws", AWSKeyDetector),
    ("aws", AwsSecretDetector),
    ("azure", AzureStorageKeyDetector),
    ("google", GoogleDetector),
    ("github", GitHubTokenDetector),
    ("github", GitHubFineGrainedDetector),
    ("gitlab", GitLabTokenDetector),
    ("registry", NpmDetector),
    ("registry", NpmTokenDetector),
    ("registry", PypiTokenDetector),
    ("model_api", OpenAIDetector),
    ("model_api", ModelApiDetector),
    ("messaging", SlackDetector),
    ("messaging", SlackAppDetector),
    ("messaging", DiscordBotTokenDetector),
    ("messaging", TelegramBotTokenDetector),
    ("messaging", TwilioKeyDetector),
    ("messaging", SendGridDetector),
    ("messaging", MailchimpDetector),
    ("payment", StripeDetector),
    ("payment", SquareOAuthDetector),
    ("jwt", JwtTokenDetector),
    ("cloud", CloudantDetector),
    ("cloud", IbmCloudIamDetector),
    ("cloud", IbmCosHmacDetector),
    ("cloud", SoftlayerDetector),
    ("cloud", ArtifactoryDetector),
    ("basic_auth", BasicAuthDetector),
)

_LONG = re.compile(r"[A-Za-z0-9_+/=-]{24}")
_LONGER = (_LONG, re.compile(r"[A-Za-z0-9_-]{44}"))
NEEDS: dict[type[RegexBasedDetector], tuple[re.Pattern[str], ...]] = {
    PrivateKeyBlockDetector: (re.compile(r"PRIVATE KEY|PuTTY-User"),),
    AWSKeyDetector: (re.compile(r"A[3BCKS][TIC][A-Z0-9]{17}"),),
    NpmDetector: (re.compile(r":_authToken="),),
    SlackDetector: (re.compile(r"-\d+-|://"),),
    JwtTokenDetector: (re.compile(r"eyJ"),),
    ArtifactoryDetector: (re.compile(r"AKC[a-zA-Z0-9]{10}|AP[0-9A-F][a-zA-Z0-9]{8}"),),
    BasicAuthDetector: (re.compile(r"://[^\s/]*@"),),
    CloudantDetector: (_LONG, re.compile(r"[A-Za-z]{24}|[0-9A-Fa-f]{64}")),
    IbmCloudIamDetector: _LONGER,
    IbmCosHmacDetector: _LONGER,
    SoftlayerDetector: _LONGER,
    MailchimpDetector: (re.compile(r"-us\d"),),
    TelegramBotTokenDetector: (_LONG, re.compile(r"\d:[0-9A-Za-z_-]{35}")),
    StripeDetector: (re.compile(r"k_live_"),),
}
"""Of the detectors whose tokens may be shorter than `_LONG`, or whose patterns are slow."""


def patterns() -> list[Pattern]:
    """Of all detectors, in the order in which one of several that claim a span has it."""
    return [
        Pattern(reason, regex, _group(detector, regex), _valid(detector), _needs(detector, regex))
        for reason, detector in DETECTORS
        for regex in detector().denylist
    ]


def _group(detector: type[RegexBasedDetector], regex: re.Pattern[str]) -> int:
    named = detector in _AROUND or (detector in (AWSKeyDetector, AwsSecretDetector) and regex.groups > 0)
    return 1 if named else 0


def _needs(detector: type[RegexBasedDetector], regex: re.Pattern[str]) -> tuple[re.Pattern[str], ...]:
    return (_LONG,) if detector is AWSKeyDetector and regex.groups else NEEDS.get(detector, (_LONG,))


def _valid(detector: type[RegexBasedDetector]) -> Callable[[str], bool] | None:
    if detector is JwtTokenDetector:
        return JwtTokenDetector.is_formally_valid
    # Artifactory's passwords begin with AP, as do words in capitals.
    return _has_digit if detector is ArtifactoryDetector else None


def _has_digit(secret: str) -> bool:
    return any(character.isdigit() for character in secret)
