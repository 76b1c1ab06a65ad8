"""The ``Idempotency-Key`` request header: the same key is the same job.

A repeat is found by the INSERT failing on the unique column, never by looking first, so eight requests at once
make one job. A key belongs to its owner, method and route: another user's key is another key. Of an anonymous caller
nobody knows whether it is the same one, so there the payload is part of the key, and the key reveals nothing.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import re
from datetime import datetime
from functools import partial
from typing import Any

import http_sf
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from .. import encoding
from ..conf import conf
from ..db.errors import again_after_conflict
from ..exceptions import IdempotencyKeyInvalid, IdempotencyKeyMissing, IdempotencyKeyReused, Unavailable
from ..models import Job, JoinedKey, database

__all__ = [
    "check_repeat",
    "claim",
    "columns",
    "fingerprint",
    "forget_joined",
    "join",
    "joined",
    "parse_key",
    "release_expired",
    "requested_key",
]

#: How often a key is taken that stands for a job that is gone.
TRIES = 3
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")


def requested_key(header: str | None, policy: str) -> str | None:
    """Return the key in *header*, as *policy* (``"required"``, ``"optional"``, ``"ignored"``) wants it; None for none.

    Raises:
        IdempotencyKeyMissing: it is required (400).
        IdempotencyKeyInvalid: it is malformed (400).
    """
    if policy == "ignored":
        return None
    if header is None and policy == "required":
        raise IdempotencyKeyMissing
    return None if header is None else parse_key(header)


def parse_key(header: str) -> str:
    """Return the key in *header*; the structured string ``"k"`` and the bare ``k`` are the same key.

    Raises:
        IdempotencyKeyInvalid: not 1 to 255 visible ASCII characters, or more than one key (400).
    """
    key = header.strip()
    if key.startswith('"'):
        try:
            item: Any = http_sf.parse(key.encode(), tltype="item")
        except ValueError as error:
            raise IdempotencyKeyInvalid from error
        key = item[0] if isinstance(item[0], str) else ""
    elif "," in key:
        raise IdempotencyKeyInvalid  # servers join repeated lines by commas (RFC 9110, section 5.3): two keys
    if not _VISIBLE_ASCII.fullmatch(key):
        raise IdempotencyKeyInvalid
    return key


def fingerprint(payload: Any) -> str:
    """Return a hash of *payload* that does not depend on the order of its members.

    Raises:
        Unencodable: *payload* has no strict JSON form.
    """
    text = encoding.dumps(encoding.canonical(payload))
    return hashlib.sha256(text.encode()).hexdigest()


def columns(key: str, *, caller: Any, method: str, route: str, payload: Any) -> dict[str, str]:
    """Return the columns of a job that stand for *key* and *payload*, by their names.

    Args:
        caller: the primary key of the user who asks; None for an anonymous caller.

    Raises:
        Unencodable: *payload* has no strict JSON form.
    """
    payload_hash = fingerprint(payload)
    scope = ["anonymous", payload_hash] if caller is None else ["owner", str(caller)]
    key_hash = hashlib.sha256(encoding.dumps([*scope, method, route, key]).encode()).hexdigest()
    return {"idempotency_key": key_hash, "fingerprint": payload_hash}


def check_repeat(earlier: Job, repeat: Job) -> None:
    """Make sure that *repeat* asks for the same as the job that holds its key.

    Raises:
        IdempotencyKeyReused: the payload differs (422).
    """
    if earlier.fingerprint != repeat.fingerprint:
        raise IdempotencyKeyReused


def join(active: Job, repeat: Job) -> Job | None:
    """Let the key of *repeat* stand for the job *active*, which has a key of its own or none.

    Returns:
        The job that the key stands for; None where *active* has ended meanwhile, and it stands for no other.

    Raises:
        IdempotencyKeyReused: it stands for one already, and the payload differs (422).
    """
    return again_after_conflict(partial(_join, active, repeat), database()) or joined(repeat)


def _join(active: Job, repeat: Job) -> Job | None:
    with transaction.atomic(using=database()):
        # The lock: as long as the key is not written, the job does not end, and nobody takes its active key.
        open_jobs = Job.objects.active().filter(pk=active.pk, forgotten=False)
        return claim(active, repeat) if open_jobs.update(updated_at=F("updated_at")) else None


def claim(job: Job, repeat: Job) -> Job:
    """Let the key of *repeat* stand for *job*; in the transaction that stores or holds that job.

    The primary key decides between two requests at once.

    Returns:
        *job*, or the other job that the key stands for already.

    Raises:
        IdempotencyKeyReused: it stands for one already, and the payload differs (422).
        Unavailable: somebody takes it time and again for a job that is gone (503).
    """
    rows = JoinedKey.objects.filter(pk=repeat.idempotency_key)
    for _ in range(TRIES):
        key = JoinedKey(pk=repeat.idempotency_key, fingerprint=repeat.fingerprint, job_id=job.pk)
        rows.bulk_create([key], ignore_conflicts=True)
        stored = rows.first()
        earlier = _standing(stored, repeat, job)
        if earlier is not None:
            return earlier
        if stored is not None:  # too old, or of a job that was deleted
            rows.filter(job_id=stored.job_id, created_at=stored.created_at).delete()
    raise Unavailable


def joined(repeat: Job) -> Job | None:
    """Return the job that the key of *repeat* stands for, where a view joins active jobs; None where it is free.

    Raises:
        IdempotencyKeyReused: the payload differs (422).
    """
    return _standing(JoinedKey.objects.filter(pk=repeat.idempotency_key).first(), repeat)


def _standing(key: JoinedKey | None, repeat: Job, known: Job | None = None) -> Job | None:
    if key is None or key.created_at < _oldest():
        return None
    known = known if known is not None and known.pk == key.job_id else None
    job = known or Job.objects.filter(pk=key.job_id, forgotten=False).first()
    if job is not None and key.fingerprint != repeat.fingerprint:
        raise IdempotencyKeyReused
    return job


def forget_joined() -> None:
    """Remove what ``claim()`` has stored and ``IDEMPOTENCY_KEY_LIFETIME`` has outlived."""
    JoinedKey.objects.filter(created_at__lt=_oldest()).delete()


def _oldest() -> datetime:
    oldest: datetime = timezone.now() - conf.IDEMPOTENCY_KEY_LIFETIME
    return oldest


def release_expired(earlier: Job, key: str | None) -> bool:
    """Free *key* where *earlier* holds it and it has outlived ``IDEMPOTENCY_KEY_LIFETIME``; else no query."""
    if key is None or earlier.idempotency_key != key or earlier.created_at >= _oldest():
        return False
    Job.objects.filter(pk=earlier.pk, idempotency_key=key).update(idempotency_key=None)
    return True  # also where another request was faster
