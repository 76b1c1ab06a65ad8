"""Sends one notice: to an address that was checked, within a deadline, and reads hardly anything of what comes back.

``requests-hardened`` pins the address and follows no redirect. What it lacks is here: all addresses are checked before,
the environment (proxies, ``.netrc``) is ignored, the whole exchange has a deadline, and no body is decoded.
"""

import socket
import threading
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead
from ipaddress import IPv4Address
from time import monotonic
from typing import Any, NamedTuple

import requests
from requests.structures import CaseInsensitiveDict
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from .. import __version__
from ..conf import conf
from .guard import NAT64, Address, Blocked, Target, Unresolved, parse, resolve

__all__ = ["Answer", "post"]

CONNECT_SECONDS = 3.0
#: How long everything may take together, with the look-up of the name.
TOTAL_SECONDS = 10.0
#: How much of an answer is read; nobody ever sees it.
READ_BYTES = 64 * 1024
#: How many addresses of one host are tried.
TRIED_ADDRESSES = 2


class Answer(NamedTuple):
    """How an attempt went, as far as it matters."""

    #: ``2xx`` … ``5xx``; ``blocked``, ``unreachable`` or ``timeout`` without an answer; ``error`` by a fault of ours.
    outcome: str
    status: int | None = None
    retry_after: str | None = None

    @property
    def delivered(self) -> bool:
        """Only a 2xx is a success; a redirect is not followed, and is none."""
        return self.outcome == "2xx"


def post(url: str, body: bytes, headers: dict[str, str], seconds: float = TOTAL_SECONDS) -> Answer:
    """Post *body* to *url* and tell how it went; it takes *seconds* at most, and raises nothing.

    The URL is checked again: what was allowed when it was registered may not be now.
    """
    deadline = Deadline(seconds)
    try:
        target = parse(url)
        for address in resolve(target)[:TRIED_ADDRESSES]:
            answer = _exchange(target, address, body, headers, deadline)
            if answer is not None:
                return answer
    except Blocked:
        return Answer("blocked")
    except Unresolved:
        return Answer("unreachable")
    finally:
        deadline.end()
    return Answer("timeout" if deadline.passed else "unreachable")


def _exchange(
    target: Target, address: Address, body: bytes, headers: dict[str, str], deadline: "Deadline"
) -> Answer | None:
    """Post to *address*; None if nobody could be reached there."""
    with Session(address, deadline) as session:
        timeout = (min(CONNECT_SECONDS, deadline.left), deadline.left)
        try:
            response = session.post(target.url, data=body, headers=headers, timeout=timeout, stream=True)
        except requests.ReadTimeout:
            return Answer("timeout")
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError):
            # Another address is tried only if nothing was sent to this one.
            if not deadline.watched:
                return None
            # A connection that was cut because the time was over looks like one that broke.
            return Answer("timeout" if deadline.passed else "unreachable")
        with response:
            status = response.status_code
            with suppress(Exception):  # the answer has come; this only lets the receiver finish
                response.raw.read(READ_BYTES + 1, decode_content=False)
            return Answer(f"{status // 100}xx", status, response.headers.get("Retry-After"))


class Deadline:
    """Ends a connection when the time is over, whatever it does: each byte that drips in begins a new timeout."""

    def __init__(self, seconds: float) -> None:
        self.until = monotonic() + seconds
        self.passed = False
        self.watched: list[socket.socket] = []
        self.timer = threading.Timer(seconds, self._cut)
        self.timer.daemon = True
        self.timer.start()

    @property
    def left(self) -> float:
        return max(self.until - monotonic(), 0.01)

    def watch(self, sock: socket.socket) -> None:
        # A duplicate: TLS takes the socket over, and closes ours.
        self.watched.append(sock.dup())
        if self.passed:
            self._cut()

    def end(self) -> None:
        self.timer.cancel()
        for sock in self.watched:
            sock.close()

    def _cut(self) -> None:
        self.passed = True
        for sock in self.watched:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class WholeHead(HTTPResponse):
    """A response whose head has come to its end; ``http.client`` takes one that was cut off as well.

    Of that it is not known what it was to say (RFC 9112, section 8), so it is no answer.
    """

    def begin(self) -> None:
        fp: Any = self.fp
        self.fp = lines = Lines(fp)  # type: ignore[assignment]
        super().begin()
        self.fp = fp
        if not lines.last:
            raise IncompleteRead(b"")


class Lines:
    """Reads lines of *fp*, and knows the last one: it is empty, without a line break, if nothing came any more."""

    def __init__(self, fp: Any) -> None:
        self.fp = fp
        self.last = b""

    def readline(self, limit: int) -> bytes:
        self.last = self.fp.readline(limit)
        return self.last

    def flush(self) -> None:
        """Do nothing: what is closed is flushed before."""

    def close(self) -> None:
        self.fp.close()


class Session(HTTPSession):  # type: ignore[misc] # it has no types
    """A session for one exchange with one address."""

    def __init__(self, address: Address, deadline: Deadline) -> None:
        super().__init__(
            Config(
                ip_filter_enable=False,  # mounted below, with the address that was checked
                ip_filter_allow_loopback_ips=False,
                never_redirect=True,
                default_timeout=(CONNECT_SECONDS, TOTAL_SECONDS),
                user_agent_override=f"django-async-accept/{__version__}",
            )
        )
        self.trust_env = False
        self.headers.pop("Accept-Encoding", None)
        for scheme in ("http", "https"):
            self.mount(f"{scheme}://", PinnedAdapter(scheme, address, deadline))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No answer is a redirect: even without following one, requests would read all of its body, and decode it."""
        return None


class PinnedAdapter(IPFilterAdapter):  # type: ignore[misc]
    """Connects to *address*, whatever the name of the host says by now; the certificate must be the name's."""

    def __init__(self, scheme: str, address: Address, deadline: Deadline) -> None:
        super().__init__(is_https_proto=scheme == "https", allow_loopback=conf.WEBHOOK_ALLOW_LOOPBACK)
        self.address = address
        self.deadline = deadline

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Let the package's own filter judge the address, too, and put the name where TLS and HTTP need it."""
        theirs, _ = super(IPFilterAdapter, self).build_connection_pool_key_attributes(request, verify, cert)
        name, port = theirs["host"].strip("[]"), theirs["port"]
        literal = request.copy()
        literal.url = f"{theirs['scheme']}://{_authority(_judged(self.address), port)}/"
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(literal, verify, cert)
        host_params["host"] = _authority(self.address)
        request.headers = CaseInsensitiveDict(request.headers)
        request.headers["Host"] = _authority(name, port)
        if theirs["scheme"] == "https":
            pool_kwargs["assert_hostname"] = pool_kwargs["server_hostname"] = name
        return host_params, pool_kwargs

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        secure = issubclass(pool.ConnectionCls, HTTPSConnection)
        pool.ConnectionCls = _watched(self.deadline, HTTPSConnection if secure else HTTPConnection)
        return pool


def _authority(host: object, port: int | None = None) -> str:
    """Return *host*, a name or an address, as it stands in a URL, with its port if there is one."""
    text = f"[{host}]" if ":" in str(host) else str(host)
    return text if port is None else f"{text}:{port}"


def _judged(address: Address) -> Address:
    """Return the address that the package shall judge: it refuses NAT64, which a host without IPv4 needs."""
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else address


def _watched(deadline: Deadline, base: Any) -> Any:
    class Watched(base):  # type: ignore[misc]
        response_class = WholeHead

        def _new_conn(self) -> socket.socket:
            sock: socket.socket = super()._new_conn()
            deadline.watch(sock)
            return sock

    return Watched
