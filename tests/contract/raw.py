"""Requests byte by byte, for what a client library would not send."""

import json
import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.contract.conftest import Client


class RawResponse(NamedTuple):
    #: 0 if the server sent none.
    status: int
    #: Name, in lower case, and value of each line.
    headers: list[tuple[str, str]]


def send(client: Client, method: str, path: str, *lines: bytes, data: Any = b"") -> RawResponse:
    """Send these header lines as they are, with the client's credentials.

    *data* is a body, or a value to send as JSON. Content-Length and Content-Type are added if no line names them.
    """
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    given = {line.partition(b":")[0].strip().lower() for line in lines}
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close", *lines]
    if token := client.session.headers.get("Authorization"):
        head.append(f"Authorization: {token!s}".encode())
    if b"content-length" not in given:
        head.append(b"Content-Length: %d" % len(body))
    if b"content-type" not in given:
        head.append(b"Content-Type: application/json")
    parts = urlsplit(client.base)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if not answer.startswith(b"HTTP/"):
        return RawResponse(0, [])
    first, *fields = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (field.partition(":") for field in fields)
    return RawResponse(int(first.split()[1]), [(name.lower(), value.strip()) for name, _, value in pairs])
