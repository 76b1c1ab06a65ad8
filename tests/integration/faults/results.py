"""Are the results what the jobs have really left? Asked of the result URLs after the storm."""

from typing import Any

import requests

from .installation import TOKEN
from .plan import Promise

__all__ = ["result_of"]

HEADERS = {"Authorization": f"Token {TOKEN}"}


def result_of(url: str, promise: Promise, state: str, *, gone: bool) -> str:
    """Return what is wrong with the result of a job in its final state; empty if it is right.

    Args:
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
        right = _is_right_failure(response, promise, state)
    return "" if right else f"{state}: {response.status_code} {response.text[:200]}"


def _without_version(response: requests.Response) -> Any:
    body = response.json()
    return {name: value for name, value in body.items() if (name, value) != ("version", 2)}


def _is_right_failure(response: requests.Response, promise: Promise, state: str) -> bool:
    body = response.json()
    if state == "canceled":
        return (response.status_code, body["code"]) == (409, "canceled")
    if state != "failed":
        return False
    if promise.mode == "refuse" and body.get("code") != "lost":
        if promise.work == "look":
            return (response.status_code, body) == (422, {"refused": promise.key})
        return (response.status_code, body["code"]) == (422, "drill-refused")
    # Either it fails by itself, or it may be lost.
    may_fail = promise.mode not in ("ok", "retry") or body.get("code") == "lost"
    return response.status_code == 409 and bool(body.get("code")) and may_fail
