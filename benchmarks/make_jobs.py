"""Fill the configured database with jobs as a busy shop would have them.

    DATABASE_URL=postgres://postgres@127.0.0.1/bench python -m benchmarks.make_jobs --count 1000000

Without DJANGO_SETTINGS_MODULE it uses the settings of the example project. It makes tables that are missing, and keeps
jobs that are there. A million jobs take about five minutes on PostgreSQL.
"""

import json
import math
import os
import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from typing import Any

from .options import options_parser

OPERATIONS = {
    # name: (share, seconds to wait, seconds to run, share that fails, task)
    "orders.create": (44, 0.2, 0.3, 0.01, "async_accept.replay"),
    "orders.bulk": (6, 0.6, 14, 0.03, "shop.bulk_orders"),
    "orders.cancel": (5, 0.2, 0.2, 0.02, "async_accept.replay"),
    "payments.capture": (18, 0.3, 1.1, 0.04, "shop.capture"),
    "payments.refund": (3, 0.3, 1.4, 0.08, "shop.refund"),
    "reports.create": (4, 2.0, 55, 0.02, "shop.report"),
    "invoices.send": (9, 0.5, 0.9, 0.02, "shop.invoice"),
    "products.import": (1, 1.5, 120, 0.10, "shop.import"),
    "products.update": (6, 0.2, 0.2, 0.005, "async_accept.replay"),
    "stock.recount": (1, 4.0, 240, 0.05, "shop.recount"),
    "uploads.parse": (2, 1.0, 30, 0.12, "shop.parse"),
    "exports.accounting": (1, 3.0, 90, 0.03, "shop.export"),
}
OWNERS = 400
WORKERS = [f"celery@worker-{n}.shop.example" for n in range(1, 7)]
#: How many of the newest jobs are still active.
WAITING, RUNNING, CANCELING = 60, 24, 2
#: How many jobs are in memory at a time, and how many go into one statement.
CHUNK, BATCH = 20_000, 2_000


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument(
        "--count", type=int, default=100_000, help="how many jobs to make (default: %(default)s)"
    )
    parser.add_argument(
        "--days", type=float, default=30, help="how many days they span (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=202, help="one seed makes one mix of jobs")
    options = parser.parse_args()
    setup()
    began = time.perf_counter()
    make_jobs(options.count, options.days, random.Random(options.seed))
    print(f"{options.count} jobs in {time.perf_counter() - began:.1f} s")


def setup() -> None:
    """Start Django and make the tables."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


def make_jobs(count: int, days: float, rng: random.Random) -> None:
    from django.db import connection
    from django_celery_results.models import TaskResult

    from async_accept.models import Job

    now = datetime.now(UTC)
    jobs = _jobs(count, days, rng, _owners(), now)
    for chunk in iter(lambda: list(islice(jobs, CHUNK)), []):
        Job.objects.bulk_create(chunk, batch_size=BATCH)
        results = [_task_result(job) for job in chunk if _keeps_result(job, now)]
        TaskResult.objects.bulk_create(results, batch_size=BATCH)
    with connection.cursor() as cursor:
        match connection.vendor:
            case "postgresql":
                cursor.execute("VACUUM ANALYZE async_accept_job")
            case "mysql":
                cursor.execute("ANALYZE TABLE async_accept_job")
            case "sqlite":
                cursor.execute("ANALYZE async_accept_job")


def _owners() -> list[int]:
    from django.contrib.auth import get_user_model

    users = get_user_model()._default_manager
    names = [f"customer-{n:03}" for n in range(OWNERS)]
    there = set(users.filter(username__in=names).values_list("username", flat=True))
    users.bulk_create([users.model(username=name, password="!") for name in names if name not in there])
    return list(users.filter(username__in=names).order_by("username").values_list("pk", flat=True))


def _jobs(count: int, days: float, rng: random.Random, owners: list[int], now: datetime) -> Iterator[Any]:
    """Yield jobs, oldest first; only the newest are still active, as in a shop whose workers keep up."""
    names = list(OPERATIONS)
    shares = [share for share, *_ in OPERATIONS.values()]
    # Few ask for most. Summed up once: choices() would do it for every job.
    owner_shares = list(accumulate(1 / (n + 1) for n in range(len(owners))))
    for made, age in enumerate(_ages(count, days * 86400, rng)):
        name = rng.choices(names, shares)[0]
        owner = None if rng.random() < 0.02 else rng.choices(owners, cum_weights=owner_shares)[0]
        left = count - made
        if left <= WAITING + RUNNING + CANCELING:
            age = rng.uniform(1, 100) * (8 if rng.random() < 0.1 else 1)  # some wait for too long
        job = _accepted(name, owner, now - timedelta(seconds=age), rng)
        if left <= WAITING:
            pass
        elif left <= WAITING + RUNNING + CANCELING:
            _run(job, now, rng, "canceling" if left <= WAITING + CANCELING else "running")
        else:
            _end(job, OPERATIONS[name], now, rng)
        yield job


def _ages(count: int, span: float, rng: random.Random) -> Iterator[float]:
    """Yield descending ages in seconds: busy days, quiet nights."""
    step = span / count
    for index in range(count):
        age = span - index * step
        night = 0.35 * math.sin(age / 86400 * 2 * math.pi) * 86400 / (2 * math.pi)
        yield max(age + night * min(age / 86400, 1) + rng.random() * step, 0.01)


def _accepted(name: str, owner: int | None, created_at: datetime, rng: random.Random) -> Any:
    """Return a job that waits; columns that are not named here have the model's defaults."""
    from async_accept.models import Job

    stamp = int(created_at.timestamp() * 1000)
    # Never from the seed: a second call adds to the first.
    noise = uuid.uuid4().int
    ordered = uuid.UUID(int=stamp << 80 | 7 << 76 | noise & ~(-1 << 76) & ~(3 << 62) | 2 << 62)
    replayed = OPERATIONS[name][4] == "async_accept.replay"
    return Job(
        # As new_id(): anonymous callers get a random one.
        id=ordered if owner is not None else uuid.uuid4(),
        owner_id=owner,
        anonymous=owner is None,
        operation=name,
        task=OPERATIONS[name][4],
        input={"data": {"sku": f"TEA-{rng.randrange(1000)}", "quantity": rng.randrange(1, 20), "token": "s3cret"}},
        request={"method": "POST", "path": "/api/orders/", "meta": {}} if replayed else None,
        max_attempts=5,
        retry_when_lost=replayed,
        dispatch_at=created_at + timedelta(seconds=10),
        # A third of the clients send a key.
        idempotency_key=uuid.uuid4().hex * 2 if noise % 3 == 0 else None,
        created_at=created_at,
        updated_at=created_at,
    )  # fmt: skip


def _claim(job: Any, started_at: datetime, rng: random.Random) -> None:
    job.dispatch_at = None
    job.started_at = job.updated_at = started_at
    job.attempt = 2 if rng.random() < 0.02 else 1
    if job.attempt == 2:
        job.history = [
            {"attempt": 1, "worker": WORKERS[0], "started_at": started_at.isoformat(),
             "ended_at": started_at.isoformat(), "reason": "lease"}
        ]  # fmt: skip
    job.worker = rng.choice(WORKERS)
    job.worker_pid = rng.randrange(1000, 9000)
    job.queue = "celery"


def _run(job: Any, now: datetime, rng: random.Random, state: str) -> None:
    _claim(job, max(job.created_at, now - timedelta(seconds=rng.uniform(3, 90))), rng)
    done = rng.randrange(5, 95)
    job.state = state
    job.lease_until = now + timedelta(days=1)  # so that they still run when somebody looks
    job.progress = {"current": done, "total": 100, "unit": "rows", "message": "", "percent": float(done),
                    "stage": "Writing"}  # fmt: skip


def _end(job: Any, kind: tuple[Any, ...], now: datetime, rng: random.Random) -> None:
    from async_accept.conf import conf
    from async_accept.problems import problem

    _, wait, run, failing, _ = kind
    started_at = job.created_at + timedelta(seconds=wait * rng.lognormvariate(0, 0.8))
    _claim(job, started_at, rng)
    dice = rng.random()
    job.state = "failed" if dice < failing else "canceled" if dice < failing + 0.01 else "succeeded"
    job.finished_at = job.updated_at = min(
        started_at + timedelta(seconds=run * rng.lognormvariate(0, 0.6)), now
    )
    job.expires_at = job.finished_at + conf.RESULT_LIFETIME
    job.sweep_at = job.finished_at + conf.JOB_LIFETIME if job.expires_at < now else job.expires_at
    match job.state:
        case "succeeded":
            job.response = {"status": 200, "headers": {}}
        case "failed":
            job.problem = problem("failed", reference=f"{rng.getrandbits(48):012x}")
        case "canceled":
            job.problem = problem("canceled")


def _keeps_result(job: Any, now: datetime) -> bool:
    return job.state in {"succeeded", "failed"} and job.expires_at > now


def _task_result(job: Any) -> Any:
    from django_celery_results.models import TaskResult

    from async_accept.jobs.results import META

    failed = job.state == "failed"
    return TaskResult(
        task_id=str(job.pk),
        task_name=job.task,
        status="FAILURE" if failed else "SUCCESS",
        content_type="application/json",
        content_encoding="utf-8",
        result=json.dumps({"exc_type": "ValueError"} if failed else {"rows": 100, "total": "1250.00"}),
        traceback="Traceback (most recent call last):\nValueError: s3cret" if failed else None,
        meta=META,
    )


if __name__ == "__main__":
    main()
