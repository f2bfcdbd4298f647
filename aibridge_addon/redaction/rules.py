"""Rules of redaction: a label, a regular expression, and texts without which it cannot match.

The patterns of detect-secrets are used as they are; those that it lacks or that take too long stand
here. A rule is only tried on a text that holds one of its anchors, so that most texts cost nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from re import _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple, Self

MARK = "[redacted: {}]"


class OwnRule(NamedTuple):
    """A regular expression of the config file."""

    name: str
    pattern: str


class Haystack(NamedTuple):
    """A text in which the anchors of rules are sought, in lower case."""

    text: str
    """Empty if no secret can be in it."""
    words: str
    """Its long words, of which most texts have few: nearly all secrets are long words."""

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Return the haystack of a text."""
        folded = text.lower()
        words = " ".join(_LONG_WORD.findall(folded))
        # A secret without a digit is hardly random, and most long words of texts have none.
        return cls(folded if _DIGIT.search(words) else "", words)


_DIGIT = re.compile(r"[0-9]")
_LONG_WORD = re.compile(r"[a-z0-9_.:/=?&@%+~-]{12,}")


@dataclass(frozen=True, slots=True)
class Rule:
    """Replaces what a regular expression matches; of one with groups, only its first group."""

    label: str
    regex: re.Pattern[str]
    anchors: tuple[str, ...] = ()
    """Texts, in lower case; a match contains one of them. Empty: the rule is always tried."""
    is_wide: bool = False
    """True if the anchor may stand in another word than the secret."""

    def may_match(self, haystack: Haystack) -> bool:
        """Return whether the rule may match in a text."""
        if not self.anchors:
            return True
        place = haystack.text if self.is_wide else haystack.words
        return any(map(place.__contains__, self.anchors))

    def apply(self, text: str) -> str:
        """Redact a text."""
        return self.regex.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        mark, whole = MARK.format(self.label), match[0]
        group = next((n for n in range(1, len(match.groups()) + 1) if match[n]), 0)
        start, end = match.start(group) - match.start(), match.end(group) - match.start()
        return whole[:start] + mark + whole[end:]


PRIVATE_KEY = Rule(
    "private key",
    re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        re.DOTALL,
    ),
    ("private key",),
    is_wide=True,
)
"""It spans lines, so that it is applied before a text is cut into windows."""

_OWN = (
    ("aibridge access token", r"aib_[a-z2-7]{10}_[A-Za-z0-9_-]{43}", "aib_"),
    ("Anthropic key", r"sk-ant-[A-Za-z0-9_-]{16,}", "sk-ant-"),
    ("API key", r"sk-(?<![A-Za-z0-9]sk-)(?:proj|svcacct|admin|or|lf)-[A-Za-z0-9_-]{16,}", "sk-"),
    ("API key", r"sk-(?<![A-Za-z0-9]sk-)[A-Za-z0-9]{20,}", "sk-"),
    ("Google API key", r"AIza[0-9A-Za-z_-]{35}", "aiza"),
    ("GitHub token", r"github_pat_[A-Za-z0-9_]{22,}", "github_pat_"),
    ("Hugging Face token", r"hf_[A-Za-z0-9]{30,}", "hf_"),
    ("Groq key", r"gsk_[A-Za-z0-9]{40,}", "gsk_"),
    ("xAI key", r"xai-[A-Za-z0-9]{40,}", "xai-"),
    ("NVIDIA key", r"nvapi-[A-Za-z0-9_-]{40,}", "nvapi-"),
    ("Cerebras key", r"csk-[a-z0-9]{40,}", "csk-"),
    ("Together key", r"tgp_v1_[A-Za-z0-9_-]{30,}", "tgp_v1_"),
    ("Bedrock key", r"ABSK[A-Za-z0-9+/]{40,}={0,2}", "absk"),
    ("Bedrock key", r"bedrock-api-key-[A-Za-z0-9+/]{20,}={0,2}", "bedrock-api-key-"),
    ("ephemeral key", r"ek_(?<![A-Za-z0-9]ek_)[A-Za-z0-9_-]{16,}", "ek_"),
    ("ephemeral token", r"auth_tokens/[A-Za-z0-9_-]{16,}", "auth_tokens/"),
    ("Google access token", r"ya29\.[A-Za-z0-9_-]{20,}", "ya29."),
    ("GitHub Copilot token", r"tid=[0-9a-f]{16,};exp=[^\s\"']+", "tid="),
    ("AWS session token", r"IQoJ[A-Za-z0-9+/]{40,}={0,2}", "iqoj"),
    ("AWS session token", r"F[wQ]oGZXIvYXdz[A-Za-z0-9+/]{40,}={0,2}", "ogzxivyxdz"),
    ("Perplexity key", r"pplx-[A-Za-z0-9]{40,}", "pplx-"),
    ("npm token", r":_authToken=\s*(npm_[A-Za-z0-9]{30,}|[A-Fa-f0-9-]{36})", "_authtoken="),
    ("Telegram token", r"[0-9]{8,10}:AA[0-9A-Za-z_-]{33}", ":aa"),
    (
        "JSON Web Token",
        r"eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
        "eyj",
    ),
    ("bearer token", r"(?i:\bbearer )([A-Za-z0-9._~+/-]{20,}=*)", "bearer "),
    ("basic credentials", r"(?i:\bbasic )([A-Za-z0-9+/]{16,}={0,2})", "basic "),
    (
        "key in a URL",
        r"[?&;](?i:(?:api[_-]?|subscription-)?key|(?:access_)?token|sig|signature|upload_id"
        r"|x-(?:amz|goog)-(?:signature|credential|security-token))"
        r"=([^&\s\"'<>\\\[\]]{8,})",
        "=",
    ),
)
"""Label, pattern and anchor."""

_DETECT_SECRETS = {
    "aws.AWSKeyDetector": ("AWS key", "a3t", "abia", "acca", "akia", "asia", "aws"),
    "azure_storage_key.AzureStorageKeyDetector": ("Azure storage key", "accountkey="),
    "basic_auth.BasicAuthDetector": ("password in a URL", "://"),
    "cloudant.CloudantDetector": ("Cloudant key", "cloudant", "clou"),
    "discord.DiscordBotTokenDetector": ("Discord token", "."),
    "github_token.GitHubTokenDetector": ("GitHub token", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    "gitlab_token.GitLabTokenDetector": (
        "GitLab token",
        *("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "gr1348941"),
        *("glcbt-", "glimt-", "glptt-", "glagent-", "gloas-"),
    ),
    "mailchimp.MailchimpDetector": ("Mailchimp key", "-us"),
    "openai.OpenAIDetector": ("OpenAI key", "t3blbkfj"),
    "pypi_token.PypiTokenDetector": ("PyPI token", "pypi-"),
    "sendgrid.SendGridDetector": ("SendGrid key", "sg."),
    "slack.SlackDetector": ("Slack token", "xox", "hooks.slack"),
    "softlayer.SoftlayerDetector": ("SoftLayer key", "softlayer"),
    "square_oauth.SquareOAuthDetector": ("Square secret", "sq0csp-"),
    "stripe.StripeDetector": ("Stripe key", "k_live_"),
    "twilio.TwilioKeyDetector": ("Twilio key", "ac", "sk"),
}
"""Label and anchors by plugin. Left out: plugins that match what is seldom a secret (IP addresses,
words after `password`, random-looking texts), and those whose secrets the table above finds."""

_GROUPS_A_PREFIX = frozenset(
    {"github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector"}
)
_WIDE = frozenset(
    {"aws.AWSKeyDetector", "cloudant.CloudantDetector", "softlayer.SoftlayerDetector"}
)


def built_in_rules() -> Iterator[Rule]:
    """Yield the rules for well-known kinds of secrets, the most exact ones first."""
    for label, pattern, anchor in _OWN:
        yield Rule(label, re.compile(pattern), (anchor,), is_wide=anchor.endswith(" "))
    for plugin, (label, *anchors) in _DETECT_SECRETS.items():
        module, _, name = plugin.partition(".")
        detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)
        for regex in detector.denylist:
            if plugin in _GROUPS_A_PREFIX:
                regex = re.compile(f"({regex.pattern})", regex.flags)
            yield Rule(label, regex, tuple(anchors), is_wide=plugin in _WIDE)


def own_rules(rules: Sequence[OwnRule]) -> Iterator[Rule]:
    """Yield the rules of the config file."""
    for name, pattern in rules:
        yield Rule(name, re.compile(pattern))


def check_own_pattern(pattern: str) -> str:
    """Return a regular expression of the config file.

    Raises:
        ValueError: it cannot be compiled, matches the empty text, or could take exponential time.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if compiled.match(""):
        raise ValueError("matches the empty text")
    if _nests_repeats(_parser.parse(pattern)):
        raise ValueError("repeats a repetition, as in (a+)+, which can take exponential time")
    return pattern


_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})
_UNBOUNDED = 64
"""Repetitions up to which a repeat is harmless."""


def _nests_repeats(parsed: Any, *, inside: bool = False) -> bool:
    """Return True if a long repeat contains another: the only source of exponential time."""
    for operation, given in parsed:
        is_repeat = str(operation) in _REPEATS and int(given[1]) > _UNBOUNDED
        if is_repeat and inside:
            return True
        if any(_nests_repeats(part, inside=inside or is_repeat) for part in _parts_of(given)):
            return True
    return False


def _parts_of(given: Any) -> Iterator[Any]:
    """Yield the patterns inside the arguments of a parsed operation."""
    if isinstance(given, _parser.SubPattern):
        yield given
    elif isinstance(given, list | tuple):
        for part in given:
            yield from _parts_of(part)
