"""Where a notice may go: to public addresses only, however a URL spells the others.

An owner chooses the URL, and our servers fetch it: without a guard, everybody could reach what only our network reaches
(server-side request forgery). So the URL is checked when it is registered, and at each delivery every address of its
host is; the connection goes to an address that was checked, so that a name cannot change its mind in between.

``ipaddress`` alone does not decide: on Python 3.11 to 3.13 ``is_global`` and ``is_private`` miss addresses that carry
another one inside of them.

Sources: https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html,
https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry.
"""

import re
import socket
import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..conf import conf

__all__ = [
    "Blocked",
    "Target",
    "Unresolved",
    "check_url",
    "host_of",
    "is_public",
    "lookup",
    "parse",
    "resolve",
]

#: The longest URL that is taken.
MAX_URL_CHARS = 2000
#: What owners are told of a host, whether it has no address or the wrong one.
NOT_PUBLIC = "The host must have an address, and each of its addresses must be public."
#: How long a look-up of a name may take.
LOOKUP_SECONDS = 3.0

#: A name of at least two labels. Others are written in punycode, or they are names of a local network.
NAME = re.compile(
    r"(?=.{4,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
#: A last label that makes a host a number, as browsers and C libraries read it: 127.1, 0x7f000001, 2130706433.
NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)")

#: IPv4 networks that are not the public internet, or not a host in it.
CLOSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # a public number, and yet the host of every virtual machine in Azure
    )
)
#: This machine. Python 3.13 would count 127.0.0.1 inside of an IPv6 address as well.
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
#: The IPv6 addresses in use, and what is reserved among them.
OPEN_V6 = IPv6Network("2000::/3")
CLOSED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID, benchmarking and other protocols of the IETF
        "2001:db8::/32",
        "2002::/16",  # 6to4
        *("2620:4f:8000::/48", "3ffe::/16", "3fff::/20"),
    )
)
#: A gateway translates these to IPv4: the last 32 bits are the address (RFC 6052).
NAT64 = IPv6Network("64:ff9b::/96")
#: The middle of an ISATAP address; the IPv4 address follows (RFC 5214, section 6.1).
ISATAP = (0x0000_5EFE, 0x0200_5EFE)

Address = IPv4Address | IPv6Address


class Blocked(ValueError):
    """The URL, or an address of its host, is none that a notice may go to. The text is for the owner of the URL."""


class Unresolved(Exception):
    """The name has no address now."""


class Target(NamedTuple):
    """A URL that passed the check, in parts."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def literal(self) -> Address | None:
        """The address, if the host is one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def check_url(url: Any) -> Target:
    """Check *url* and all addresses of its host. It looks up the name, for 3 seconds at most.

    Raises:
        Blocked: no notice may go there.
    """
    target = parse(url)
    try:
        resolve(target)
    except Unresolved:
        # As for an address that is not public: else owners could find out which names a local network knows.
        raise Blocked(NOT_PUBLIC) from None
    return target


def parse(url: Any) -> Target:
    """Check what can be said of *url* without asking anybody.

    Raises:
        Blocked: no notice may go there.
    """
    # Before any parser sees it: parsers drop or move such characters, each in its own way.
    if (
        not isinstance(url, str)
        or len(url) > MAX_URL_CHARS
        or not re.fullmatch(r"[!-~]+", url)
        or "\\" in url
    ):
        raise Blocked(f"The URL must have at most {MAX_URL_CHARS} visible ASCII characters and no backslash.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Blocked("The URL cannot be read.") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and conf.WEBHOOK_ALLOW_HTTP):
        raise Blocked("The URL must begin with https://.")
    if "@" in parts.netloc:
        raise Blocked("The URL must have no user and no password.")
    if parts.fragment or url.endswith("#"):
        raise Blocked("The URL must have no fragment.")
    target = Target(
        url, parts.scheme, host, (443 if parts.scheme == "https" else 80) if port is None else port
    )
    if conf.WEBHOOK_PORTS is not None and target.port not in conf.WEBHOOK_PORTS:
        raise Blocked("The port is not allowed.")
    _check_host(target, "[" in parts.netloc)
    return target


def host_of(url: str) -> str:
    """Return the host of a URL that passed the check, with its port if that is not the usual one.

    Who does not answer at one port may well do so at another, and the two may belong to different people.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    usual = parts.port in (None, 443 if parts.scheme == "https" else 80)
    return (host if usual else f"{host}:{parts.port}")[:255]


def _check_host(target: Target, in_brackets: bool) -> None:
    address = target.literal
    if in_brackets != isinstance(address, IPv6Address) or "%" in target.host:
        raise Blocked("The host cannot be read.")
    if address is not None:
        _check_address(address)
    elif not (NAME.fullmatch(target.host) or (target.host == "localhost" and conf.WEBHOOK_ALLOW_LOOPBACK)):
        raise Blocked("The host must be a full name in ASCII, such as example.com, or a public address.")
    elif NUMBER.fullmatch(target.host.rpartition(".")[2]):
        raise Blocked("The host is no name, and no address in its usual form.")


def _check_address(address: Address) -> None:
    is_loopback = any(address in network for network in LOOPBACK)
    if not (is_public(address) or (conf.WEBHOOK_ALLOW_LOOPBACK and is_loopback)):
        raise Blocked(NOT_PUBLIC)


def is_public(address: Address) -> bool:
    """Tell whether *address*, and the IPv4 address that it may carry, is one of the public internet."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in CLOSED_V4)
    if address.scope_id is not None:
        return False
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in OPEN_V6 or any(address in network for network in CLOSED_V6) or not address.is_global:
        return False
    carried = int(address) >> 32 & 0xFFFF_FFFF
    return carried not in ISATAP or is_public(IPv4Address(int(address) & 0xFFFF_FFFF))


def resolve(target: Target) -> list[Address]:
    """Return every address of the host, all of them checked, in the order of the system.

    Raises:
        Blocked: one of them is not public; another one may be.
        Unresolved: it has none now, or nobody answered in time.
    """
    found = [target.literal] if target.literal is not None else _in_time(target.host, target.port)
    for address in found:
        _check_address(address)
    return found


def lookup(host: str, port: int) -> list[str]:
    """Return the addresses of *host*. Tests put a resolver of their own in its place."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _in_time(host: str, port: int) -> list[Address]:
    """Look up *host* in a thread: the system's look-up cannot be given a bound."""
    found: list[Address] = []

    def ask() -> None:
        try:
            found.extend(dict.fromkeys(ip_address(text) for text in lookup(host, port)))
        except (OSError, ValueError):  # no such name; an address with a zone that is none
            found.clear()

    thread = threading.Thread(target=ask, daemon=True, name="async_accept look-up")
    thread.start()
    thread.join(LOOKUP_SECONDS)
    addresses = [] if thread.is_alive() else found
    if not addresses:
        raise Unresolved(host)
    return addresses
