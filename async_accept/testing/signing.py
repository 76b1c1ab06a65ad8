"""Signs webhooks as their senders do."""

import json
import time
from typing import Any

from ..receivers import Receiver
from ..receivers.schemes import Message

__all__ = ["sign", "sign_request"]


def sign(
    receiver: type[Receiver],
    body: bytes,
    *,
    secret: str | None = None,
    id: str = "msg_test",
    timestamp: float | None = None,
    url: str = "",
    content_type: str = "application/json",
) -> dict[str, str]:
    """Return the headers with which the sender of *receiver* would send *body*; no network is used.

    Args:
        secret: with which to sign; by default the first one of *receiver*.
        id: the sender's id of the message, if it has a header for it.
        timestamp: when it is signed, in seconds since 1970; by default now.
        url: the whole URL, for senders that sign it (Twilio).
        content_type: of the body, for senders that sign the fields of a form (Twilio).
    """
    told = str(int(time.time() if timestamp is None else timestamp))
    secrets = receiver().get_secrets() if secret is None else [secret]
    message = Message(body, told, id, url, content_type)
    headers = receiver.scheme.sign(message, secrets[:1])
    return {receiver.id_header: id, **headers} if receiver.id_header else headers


def sign_request(
    receiver: type[Receiver],
    data: Any,
    *,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
    **signed: Any,
) -> dict[str, Any]:
    """Return the arguments of ``client.post(url, …)`` for a request that the sender of *receiver* would send.

    Args:
        data: the body: bytes as they are, anything else as JSON.
        headers: further headers, such as ``{"X-GitHub-Event": "push"}``.
        signed: as in ``sign()``.
    """
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    made = sign(receiver, body, content_type=content_type, **signed)
    return {"data": body, "content_type": content_type, "headers": {**made, **(headers or {})}}
