"""Are the results what the jobs have really left? Asked of the result URLs after the storm."""

from typing import Any

import requests

from .installation import TOKEN
from .plan import Promise

__all__ = ["is_right_failure", "result_of"]

HEADERS = {"Authorization": f"Token {TOKEN}"}
#: How Django calls the errors of a database that went away.
OUTAGES = ("InterfaceError", "OperationalError")


def result_of(url: str, promise: Promise, state: str, error: str, *, gone: bool) -> str:
    """Return what is wrong with the result of a job in its final state; empty if it is right.

    Args:
        error: the kind of the exception that failed it; empty if none did.
        gone: its client has deleted the job.
    """
    response = requests.get(f"{url}result/", headers=HEADERS, timeout=30)
    if gone:
        monitor = requests.get(url, headers=HEADERS, timeout=30)
        right = response.status_code == monitor.status_code == 404
    elif state == "succeeded":
        right = response.status_code == promise.kind.status and _without_version(response) == promise.result
        if promise.work == "replay":
            right = right and response.headers.get("X-Drill") == promise.key
    else:
        right = is_right_failure(response, promise, state, error)
    return "" if right else f"{state} by {error or 'nothing'}: {response.status_code} {response.text[:200]}"


def _without_version(response: requests.Response) -> Any:
    body = response.json()
    return {name: value for name, value in body.items() if (name, value) != ("version", 2)}


def is_right_failure(response: Any, promise: Promise, state: str, error: str) -> bool:
    """Whether a job like *promise* may end so, and says so.

    Args:
        response: what its result URL answers.
        error: as in ``result_of()``.
    """
    body = response.json()
    if state == "canceled":
        return (response.status_code, body["code"]) == (409, "canceled")
    if state != "failed":
        return False
    if promise.mode == "refuse" and body.get("code") != "lost":
        if promise.work == "look":
            return (response.status_code, body) == (422, {"refused": promise.key})
        return (response.status_code, body["code"]) == (422, "drill-refused")
    # Either it fails by itself, or it may be lost, with its worker or with the database.
    is_lost = body.get("code") == "lost" or (not promise.kind.sound and error in OUTAGES)
    may_fail = promise.mode not in ("ok", "retry") or is_lost
    return response.status_code == 409 and bool(body.get("code")) and may_fail
