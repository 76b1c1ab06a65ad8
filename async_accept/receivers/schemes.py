"""How senders sign: what is signed, with which hash, and in which headers the signature comes.

One small class for each convention, which both signs and verifies. ``standardwebhooks`` is not used here: it raises
five kinds of errors for malformed headers, knows one secret at a time and one fixed tolerance, and serves one of these
conventions. Five lines of ``hmac`` serve all of them.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

__all__ = [
    "BodyScheme",
    "Claim",
    "Message",
    "PairsScheme",
    "PlainScheme",
    "Scheme",
    "StandardScheme",
    "TimestampScheme",
    "TwilioScheme",
]

#: A time in seconds since 1970, as senders write it. Nothing else that ``int()`` would take.
TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
#: The id of a message: visible ASCII without the dot, which separates it from the time in what is signed.
MESSAGE_ID = re.compile(r"[!-\-/-~]{1,255}", re.ASCII)


class Message(NamedTuple):
    """What is signed."""

    body: bytes
    #: In seconds since 1970, as it stands in the header; "" if the convention has none.
    timestamp: str = ""
    #: The sender's id of the message, if that is signed.
    id: str = ""
    #: The URL as the sender knows it, if that is signed.
    url: str = ""
    content_type: str = ""


class Claim(NamedTuple):
    """What the headers claim."""

    #: One of them has to match.
    signatures: Sequence[bytes]
    timestamp: str = ""
    id: str = ""


class Scheme:
    """One convention. A subclass says what is signed and how the headers look.

    ``read()`` may raise any ``ValueError`` for headers that are not as they should be: UnicodeError and binascii.Error
    are such, too.
    """

    #: The header that has the signature.
    header = ""
    #: The name of the hash.
    digest = "sha256"
    #: Whether the signature is written in base64, else in hexadecimal digits.
    is_base64 = False

    def key(self, secret: str) -> bytes:
        """Return the bytes that sign.

        Raises:
            ValueError: *secret* has not the form that the convention demands.
        """
        return secret.encode()

    def can_use(self, secret: object) -> bool:
        """Tell whether *secret* is one, in the form that the convention demands."""
        try:
            return isinstance(secret, str) and len(self.key(secret)) > 0
        except ValueError:
            return False

    def signed(self, message: Message) -> bytes:
        """Return the bytes that are signed.

        Raises:
            ValueError: this message cannot be signed.
        """
        return message.body

    def identity(self, message: Message) -> bytes:
        """Return what two messages without an id have in common if they are the same: the body, as it came.

        A scheme that does not sign each byte of the body returns what it signs. Else whoever has seen a message could
        write the body in another way, and send it again as a new one.
        """
        return message.body

    def read(self, headers: Mapping[str, str]) -> Claim:
        """Return what *headers* claim.

        Raises:
            ValueError: they are missing or malformed.
        """
        raise NotImplementedError

    def headers(self, message: Message, signatures: Sequence[str]) -> dict[str, str]:
        """Return the headers that carry *signatures* of *message*, for tests and for senders."""
        raise NotImplementedError

    def mac(self, secret: str, message: Message) -> str:
        """Return the signature of *message*, as it stands in the header."""
        made = hmac.new(self.key(secret), self.signed(message), self.digest)
        return b64encode(made.digest()).decode() if self.is_base64 else made.hexdigest()

    def sign(self, message: Message, secrets: Iterable[str]) -> dict[str, str]:
        """Return the headers of *message*, signed with each of *secrets*."""
        return self.headers(message, [self.mac(secret, message) for secret in secrets])

    def verify(
        self,
        headers: Mapping[str, str],
        message: Message,
        secrets: Iterable[str],
        *,
        now: float,
        tolerance: timedelta | None,
    ) -> bool:
        """Tell whether one of *secrets* has signed *message*, and not too long ago. It never raises ValueError.

        Every signature is compared with every secret, in constant time, so that no time tells which one was near.

        Args:
            message: its time and id are taken from *headers*.
            now: in seconds since 1970.
            tolerance: how far the time of the message may be from *now*, in both directions; None: any time.
        """
        try:
            claim = self.read(headers)
            told = message._replace(timestamp=claim.timestamp, id=claim.id)
            expected = [self.mac(secret, told).encode() for secret in secrets if self.can_use(secret)]
        except ValueError:
            return False
        matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in claim.signatures]
        return any(matches) and _is_fresh(claim.timestamp, now, tolerance)


def _is_fresh(timestamp: str, now: float, tolerance: timedelta | None) -> bool:
    if not timestamp or tolerance is None:
        return True
    return abs(now - int(timestamp)) <= tolerance.total_seconds()


def _time(text: str) -> str:
    if not TIMESTAMP.fullmatch(text):
        raise ValueError("This is no time in seconds.")
    return text


class BodyScheme(Scheme):
    """The body alone is signed (GitHub, Shopify, Meta, Dropbox). So a captured request can be sent again at any time.

    Args:
        header: the header that has the signature.
        prefix: what stands before the signature.
        is_base64: see ``Scheme``.
    """

    def __init__(self, header: str, prefix: str = "", *, is_base64: bool = False) -> None:
        self.header, self.prefix, self.is_base64 = header, prefix, is_base64

    def read(self, headers: Mapping[str, str]) -> Claim:
        value = headers.get(self.header, "")
        if not value.startswith(self.prefix):
            raise ValueError("The signature is missing.")
        return Claim([value.removeprefix(self.prefix).encode("ascii")])

    def headers(self, message: Message, signatures: Sequence[str]) -> dict[str, str]:
        return {self.header: self.prefix + signatures[0]}


class TimestampScheme(Scheme):
    """Version, time and body are signed: ``v0:1531420618:…`` (Slack, Zoom)."""

    def __init__(self, header: str, timestamp_header: str, version: str = "v0") -> None:
        self.header, self.timestamp_header, self.version = header, timestamp_header, version

    def signed(self, message: Message) -> bytes:
        return f"{self.version}:{message.timestamp}:".encode() + message.body

    def read(self, headers: Mapping[str, str]) -> Claim:
        value, prefix = headers.get(self.header, ""), f"{self.version}="
        if not value.startswith(prefix):
            raise ValueError("The signature is missing.")
        timestamp = _time(headers.get(self.timestamp_header, ""))
        return Claim([value.removeprefix(prefix).encode("ascii")], timestamp)

    def headers(self, message: Message, signatures: Sequence[str]) -> dict[str, str]:
        return {self.header: f"{self.version}={signatures[0]}", self.timestamp_header: message.timestamp}


class PairsScheme(Scheme):
    """Time and body are signed, and one header has both time and signatures: ``t=1492774577,v1=…`` (Stripe, Paddle).

    Args:
        header: that header.
        time: the name of the time in it.
        signature: the name of a signature, which may stand there several times.
        separator: between the pairs.
        joint: between time and body.
    """

    def __init__(
        self, header: str, *, time: str = "t", signature: str = "v1", separator: str = ",", joint: str = "."
    ) -> None:
        self.header, self.time, self.signature = header, time, signature
        self.separator, self.joint = separator, joint

    def signed(self, message: Message) -> bytes:
        return f"{message.timestamp}{self.joint}".encode() + message.body

    def read(self, headers: Mapping[str, str]) -> Claim:
        pairs = [part.strip().split("=", 1) for part in headers.get(self.header, "").split(self.separator)]
        found = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
        [timestamp] = [value for name, value in found if name == self.time]  # ValueError if it is not one
        signatures = [value.encode("ascii") for name, value in found if name == self.signature]
        return Claim(signatures, _time(timestamp))

    def headers(self, message: Message, signatures: Sequence[str]) -> dict[str, str]:
        pairs = [(self.time, message.timestamp), *((self.signature, each) for each in signatures)]
        return {self.header: self.separator.join(f"{name}={value}" for name, value in pairs)}


class StandardScheme(Scheme):
    """Standard Webhooks: id, time and body are signed; the secret is ``whsec_`` and base64.

    Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    header = "Webhook-Signature"
    is_base64 = True

    def key(self, secret: str) -> bytes:
        return b64decode(secret.removeprefix("whsec_").encode("ascii"), validate=True)

    def signed(self, message: Message) -> bytes:
        return f"{message.id}.{message.timestamp}.".encode() + message.body

    def read(self, headers: Mapping[str, str]) -> Claim:
        id = headers.get("Webhook-Id", "")
        if not MESSAGE_ID.fullmatch(id):
            raise ValueError("The id is missing or malformed.")
        # Those of other versions are for other secrets, which are none of ours.
        words = headers.get(self.header, "").split(" ")
        signatures = [word.removeprefix("v1,").encode("ascii") for word in words if word.startswith("v1,")]
        return Claim(signatures, _time(headers.get("Webhook-Timestamp", "")), id)

    def headers(self, message: Message, signatures: Sequence[str]) -> dict[str, str]:
        return {
            "Webhook-Id": message.id,
            "Webhook-Timestamp": message.timestamp,
            self.header: " ".join(f"v1,{each}" for each in signatures),
        }


class TwilioScheme(Scheme):
    """Twilio: the URL is signed with the sorted fields of the form; of any other body, a hash stands in the URL.

    Source: https://www.twilio.com/docs/usage/webhooks/webhooks-security
    """

    header = "X-Twilio-Signature"
    digest = "sha1"
    is_base64 = True

    def signed(self, message: Message) -> bytes:
        named = dict(parse_qsl(urlsplit(message.url).query)).get("bodySHA256")
        is_form = message.content_type.startswith("application/x-www-form-urlencoded")
        if named is None and message.body and not is_form:
            raise ValueError("Nothing says that this body is signed.")
        if named is not None and named != sha256(message.body).hexdigest():
            raise ValueError("The body is not the one that the URL names.")
        if not is_form:
            return message.url.encode()
        fields = set(parse_qsl(message.body.decode(), keep_blank_values=True))
        return (message.url + "".join(name + value for name, value in sorted(fields))).encode()

    def identity(self, message: Message) -> bytes:
        try:
            return self.signed(message)
        except ValueError:  # a part of a body, say
            return message.body

    def read(self, headers: Mapping[str, str]) -> Claim:
        return Claim([headers.get(self.header, "").encode("ascii")])

    def headers(self, message: Message, signatures: Sequence[str]) -> dict[str, str]:
        return {self.header: signatures[0]}


class PlainScheme(Scheme):
    """A header has the secret itself (GitLab, Telegram, many home-made senders). The body is not signed.

    Args:
        header: that header; "" if the secret is in the body (Microsoft Graph).
    """

    def __init__(self, header: str) -> None:
        self.header = header

    def mac(self, secret: str, message: Message) -> str:
        # A hash of it, so that both sides have the same length and no time tells that of the secret.
        return sha256(self.key(secret)).hexdigest()

    def read(self, headers: Mapping[str, str]) -> Claim:
        value = headers.get(self.header, "")
        if not value:
            raise ValueError("The secret is missing.")
        return Claim([sha256(value.encode("latin-1")).hexdigest().encode()])

    def sign(self, message: Message, secrets: Iterable[str]) -> dict[str, str]:
        return {self.header: next(iter(secrets))} if self.header else {}
