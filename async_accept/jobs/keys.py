"""Which earlier job stands for this request: the one with its ``Idempotency-Key``, or the active one that it joins.

The unique column decides between requests at once: the INSERT of a repeat fails, so eight requests make one job. An
earlier job is looked up first only if this request would be refused, may have joined another job, or has a key that
this process has seen: then nothing is validated and inserted in vain. A key belongs to its owner, method and route:
another user's key is another key. Nobody knows whether two anonymous callers are the same one; for them the payload is
part of the key, and the key reveals nothing.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import re
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import http_sf
from django.db import transaction
from django.db.models import F, Q

from .. import encoding
from ..conf import conf
from ..db.compiled import Lookup
from ..db.errors import again_after_conflict
from ..exceptions import (
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    JobActive,
    JobPurged,
)
from ..models import Job, JoinedKey, database, database_now

__all__ = [
    "columns",
    "earlier",
    "earlier_by_joined_key",
    "earlier_by_key",
    "fingerprint",
    "forget_expired",
    "is_seen",
    "note_seen",
    "parse_key",
    "record",
    "requested_key",
]

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")
#: How many keys one process remembers.
SEEN = 4096
seen: set[str] = set()
#: The job of a repeat, without what its 202 does not need, such as an input of a megabyte.
_by_key = Lookup(lambda: Job.objects.light(), "idempotency_key")


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


# --- Which keys has this process seen? ----------------------------------------------------------------------


def note_seen(key_hash: str) -> None:
    """Remember that the key stands for a job."""
    if len(seen) >= SEEN:
        seen.clear()
    seen.add(key_hash)


def is_seen(key_hash: str) -> bool:
    """Whether the key stood for a job a while ago. It may be free by now; and other processes know other keys."""
    return key_hash in seen


# --- Which earlier job stands for this request? -------------------------------------------------------------


def earlier(job: Job) -> Job | None:
    """Return the earlier job that stands for *job*: by the idempotency key, or as the active job that it joins.

    Raises:
        IdempotencyKeyReused: the idempotency key came with another payload (422).
        JobActive: such a job is active, and *job* may not join it (409).
        JobPurged: the key stands for a job that is gone.
    """
    return earlier_by_key(job) or _active_one(job)


def earlier_by_key(job: Job) -> Job | None:
    """Return the job of the first request with the idempotency key of *job*; None if the key is free.

    A key that is older than ``IDEMPOTENCY_KEY_LIFETIME`` is released.

    Raises:
        IdempotencyKeyReused: the payload differs (422).
        JobPurged: the key stands for a job that is gone.
    """
    if job.idempotency_key is None:
        return None
    first = _by_key.find(job.idempotency_key, database())
    if first is None or _release_expired(first):
        return earlier_by_joined_key(job)
    _check_payload(first.fingerprint, job)
    return first


def earlier_by_joined_key(job: Job) -> Job | None:
    """Return the job that the idempotency key of *job* stands for, if the key is kept apart from its job; else None.

    Raises:
        IdempotencyKeyReused: the payload differs (422).
        JobPurged: that job is gone, and the key has a lifetime of its own.
    """
    return _job_of(JoinedKey.objects.filter(pk=job.idempotency_key).first(), job)


def record(job: Job, stands_for: Job, lifetime: timedelta | None = None) -> Job | None:
    """Write down which job the idempotency key of *job* stands for, in the transaction that stores or locks that job.

    The primary key decides between two requests at once.

    Args:
        lifetime: how long the key stands for that job, whether it is purged or not; None: as the setting says.

    Returns:
        *stands_for*; another job if the key stands for that one already; None if the key was in use and is free now.

    Raises:
        IdempotencyKeyReused: it stands for a job already, and the payload differs (422).
        JobPurged: it stands for a job that is gone.
    """
    rows = JoinedKey.objects.filter(pk=job.idempotency_key)
    now = database_now()
    mine = {
        "job_id": stands_for.pk,
        "fingerprint": job.fingerprint,
        "created_at": now,
        "kept_until": None if lifetime is None else now + lifetime,
    }
    rows.bulk_create([JoinedKey(pk=job.idempotency_key, **mine)], ignore_conflicts=True)
    stored = rows.first()
    if stored is None:
        return None
    earlier = _job_of(stored, job, known=stands_for)
    if earlier is not None:
        return earlier
    # It is too old, or its job was deleted.
    free = rows.filter(job_id=stored.job_id, created_at=stored.created_at)
    return stands_for if free.update(**mine) else None


def forget_expired(most: int = 500) -> int:
    """Delete keys that are kept apart from their jobs and have become too old, at most so many; return how many."""
    deleted = 0
    for old in (Q(kept_until__isnull=True, created_at__lt=_oldest()), Q(kept_until__lt=database_now())):
        rows = JoinedKey.objects.filter(old)
        found = list(rows.values_list("pk", flat=True)[: most - deleted])
        deleted += rows.filter(pk__in=found).delete()[0] if found else 0
    return deleted


def _active_one(job: Job) -> Job | None:
    if job.active_key is None or job.order_key is not None:
        return None  # in an order, nobody joins: the next one waits for its turn
    active = Job.objects.filter(active_key=job.active_key).first()
    if active is None:
        return None
    # Whoever joins must be able to follow: another's job is 404 for them, and so is one that they have deleted.
    is_mine = active.owner_id is not None and active.owner_id == job.owner_id and not active.forgotten
    if not (job.joins_active and is_mine):
        raise JobActive
    if job.idempotency_key is None:
        return active
    return again_after_conflict(partial(_join, active, job), database())


def _join(active: Job, job: Job) -> Job | None:
    """Let the idempotency key of *job* stand for *active*; None if that has ended meanwhile."""
    with transaction.atomic(using=database()):
        # The lock: until the key is written, the job does not end, and nobody takes its active key.
        rows = Job.objects.active().filter(pk=active.pk, forgotten=False)
        return record(job, active) if rows.update(updated_at=F("updated_at")) else None


def _job_of(key: JoinedKey | None, job: Job, known: Job | None = None) -> Job | None:
    """Return the job that *key* stands for; None if the key is too old, or its job was deleted.

    Raises:
        IdempotencyKeyReused: the payload of *job* differs (422).
        JobPurged: that job is gone, and the key has a lifetime of its own.
    """
    if key is None or _is_old(key):
        return None
    is_known = known is not None and known.pk == key.job_id
    standing = known if is_known else Job.objects.filter(pk=key.job_id, forgotten=False).first()
    if standing is not None:
        _check_payload(key.fingerprint, job)
    elif key.kept_until is not None:
        raise JobPurged(key.job_id)
    return standing


def _is_old(key: JoinedKey) -> bool:
    if key.kept_until is not None:
        return key.kept_until <= database_now()
    return key.created_at < _oldest()


def _check_payload(fingerprint: str, job: Job) -> None:
    if fingerprint != job.fingerprint:
        raise IdempotencyKeyReused


def _release_expired(first: Job) -> bool:
    """Free the idempotency key of *first* if it is too old; else no query."""
    if first.created_at >= _oldest():
        return False
    Job.objects.filter(pk=first.pk, idempotency_key=first.idempotency_key).update(idempotency_key=None)
    return True  # also if another request was faster


def _oldest() -> datetime:
    oldest: datetime = database_now() - conf.IDEMPOTENCY_KEY_LIFETIME
    return oldest
