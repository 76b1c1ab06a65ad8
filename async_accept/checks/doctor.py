"""The doctor: asks every party whether a 202 given now would be kept, and says what to do where it would not.

System checks read the settings; the doctor talks to the database, the broker and the workers, each within bounds,
and sends one job on the whole round trip.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings
from django.core import checks
from django.db import Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.test import RequestFactory
from django.urls import NoReverseMatch
from django.utils import timezone

from ..conf import conf
from ..db.functions import DatabaseNow
from ..exceptions import BrokerUnavailable
from ..http.monitor import job_url
from ..jobs import publish, retention
from ..jobs.accept import accept
from ..jobs.broker import Broker
from ..models import Job, database, new_id
from ..states import State
from ..tasks import JobTask, probe
from . import TAG, invariants

__all__ = ["Doctor", "Finding"]

#: More than this between two machines' clocks shows in times that people read.
CLOCK_SECONDS = 5.0
#: The first versions of MariaDB's series that sort UUIDs of version 7 as they are (MDEV-29959, MDEV-31926).
SORTED_SINCE = {(10, 10): 7, (10, 11): 6, (11, 0): 4, (11, 1): 3, (11, 2): 2}


class Finding(NamedTuple):
    """One line of the report."""

    level: str  # "ok", "warn" or "fail"
    subject: str
    message: str
    #: What to do about it.
    mend: str = ""


@dataclass
class Doctor:
    """One examination.

    Args:
        seconds: how long to wait for a worker's answer, and for the probe job.
    """

    seconds: float = 10.0
    #: Whether the database, the broker and a worker can be relied on by the later questions.
    database_works: bool = field(default=False, init=False)
    broker_works: bool = field(default=False, init=False)
    workers: list[str] = field(default_factory=list, init=False)

    def examine(self) -> Iterator[Finding]:
        """Yield what was found, one party after the other."""
        yield from self.check_settings()
        yield from self.check_database()
        if self.database_works:
            yield from self.check_jobs()
        yield from self.check_broker()
        if self.broker_works:
            yield from self.check_workers()
        if self.workers:
            yield from self.check_tasks()
        if self.database_works and (self.workers or current_app.conf.task_always_eager):
            yield from self.send_probe()
        yield from self.check_urls()

    # --- This process ---------------------------------------------------------------------------------

    def check_settings(self) -> Iterator[Finding]:
        """Run the system checks."""
        found = False
        for message in checks.run_checks(tags=[TAG]):
            level = "fail" if message.level >= checks.ERROR else "warn"
            if message.level >= checks.WARNING:
                found = True
                yield Finding(level, "settings", f"{message.msg} ({message.id})", message.hint or "")
        if not found:
            yield Finding("ok", "settings", "The system checks find nothing.")

    def check_urls(self) -> Iterator[Finding]:
        """Ask for a job's URL as a request from outside would."""
        allowed = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
        origins = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if "*" not in origin]
        outside = next(
            (urlsplit(origin).netloc for origin in origins), allowed[0] if allowed else "localhost"
        )
        request = RequestFactory().get("/", headers={"host": outside, "x-forwarded-proto": "https"})
        try:
            url = job_url(Job(pk=new_id()), request)
        except NoReverseMatch:
            return  # a system check has told it, or they are below a version, which this request has not
        except Exception as error:
            yield Finding("fail", "urls", f"No URL can be made for {outside}: {error}", "See ALLOWED_HOSTS.")
            return
        if "*" in settings.ALLOWED_HOSTS:
            yield Finding(
                "warn",
                "urls",
                "ALLOWED_HOSTS has '*': whoever forges a Host header decides where the URLs of a 202 point to.",
                f'ALLOWED_HOSTS = ["{outside}"]',
            )
        https = settings.SECURE_SSL_REDIRECT or any(origin.startswith("https:") for origin in origins)
        if https and not url.startswith("https:"):
            yield Finding(
                "warn",
                "urls",
                f"Behind a proxy that speaks HTTPS, the URLs of a 202 would be {url}",
                'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")',
            )
        else:
            yield Finding("ok", "urls", f"The URLs of a 202 look like {url}")

    # --- The database ------------------------------------------------------------------------------------

    def check_database(self) -> Iterator[Finding]:
        """Reach the database and look for migrations that are missing."""
        connection = connections[database()]
        try:
            connection.ensure_connection()
            executor = MigrationExecutor(connection)
            wanted = [
                node
                for node in executor.loader.graph.leaf_nodes()
                if node[0] in ("async_accept", "django_celery_results")
            ]
            missing = [str(migration) for migration, _ in executor.migration_plan(wanted)]
        except Error as error:
            yield Finding(
                "fail",
                "database",
                f"It does not answer: {type(error).__name__}",
                "See DATABASES, and its log.",
            )
            return
        if missing:
            yield Finding(
                "fail", "database", f"Not migrated: {', '.join(missing)}", "python manage.py migrate"
            )
            return
        self.database_works = True
        yield Finding("ok", "database", f"{connection.vendor} answers and is migrated.")
        yield from _check_order()
        yield from self._compare_clocks()

    def _compare_clocks(self) -> Iterator[Finding]:
        from django.contrib.contenttypes.models import ContentType

        now = (
            ContentType.objects.using(database())
            .annotate(now=DatabaseNow())
            .values_list("now", flat=True)
            .first()
        )
        if now is not None and settings.USE_TZ:
            apart = abs((timezone.now() - now).total_seconds())
            if apart > CLOCK_SECONDS:
                yield Finding(
                    "warn",
                    "database",
                    f"Its clock and this machine's are {apart:.0f} s apart.",
                    "Synchronise both with a time server (NTP).",
                )

    def check_jobs(self) -> Iterator[Finding]:
        """Look for jobs that nothing acts on, or that contradict themselves."""
        found = list(invariants.violations())
        for violation in found:
            yield Finding(
                "fail",
                "jobs",
                str(violation),
                "Run a relay: start a worker, or python manage.py async_accept relay",
            )
        if not found:
            waiting = Job.objects.filter(state=State.ACCEPTED).count()
            yield Finding("ok", "jobs", f"Every job has its outcome or its time; {waiting} wait.")

    # --- The broker ------------------------------------------------------------------------------------------

    def check_broker(self) -> Iterator[Finding]:
        """Reach the broker, and see that it keeps what it takes."""
        address = current_app.connection_for_write().as_uri()  # without the password
        broker = Broker(min(self.seconds, 5.0))
        try:
            broker.check()
            self.broker_works = True
            yield Finding("ok", "broker", f"{address} answers.")
            yield from _check_eviction(broker)
        except BrokerUnavailable as error:
            yield Finding("fail", "broker", f"{address} does not answer: {error}", "See CELERY_BROKER_URL.")
        finally:
            broker.close()

    # --- The workers --------------------------------------------------------------------------------------------

    def _ask(self, question: str) -> dict[str, Any]:
        """Return the workers' answers; those that are known are not waited for longer than they need."""
        inspect = current_app.control.inspect(
            timeout=min(self.seconds, 2.0), destination=self.workers or None
        )
        return getattr(inspect, question)() or {}

    def check_workers(self) -> Iterator[Finding]:
        """Ping the workers."""
        self.workers = sorted(self._ask("ping"))
        if self.workers:
            yield Finding("ok", "workers", f"{', '.join(self.workers)} answer.")
        elif current_app.conf.task_always_eager:
            yield Finding("ok", "workers", "None is needed: task_always_eager is on.")
        else:
            yield Finding(
                "fail", "workers", "No worker answers, so jobs wait.", f"celery -A {current_app.main} worker"
            )
        if not conf.RELAY_IN_WORKER:
            yield Finding(
                "warn",
                "workers",
                "RELAY_IN_WORKER is off: jobs that were left behind wait for a relay of their own.",
                "python manage.py async_accept relay",
            )

    def check_tasks(self) -> Iterator[Finding]:
        """See that some worker knows each job task and listens to its queue."""
        names = sorted(name for name, task in current_app.tasks.items() if isinstance(task, JobTask))
        registered = {line.split(" ", 1)[0] for lines in self._ask("registered").values() for line in lines}
        consumed = {queue["name"] for queues in self._ask("active_queues").values() for queue in queues}
        sound = True
        for name in names:
            queue = publish.queue_of(name)
            if name not in registered:
                sound = False
                yield Finding(
                    "fail", "tasks", f"No worker knows {name}.", "Restart the workers with the present code."
                )
            elif queue is not None and queue not in consumed:
                sound = False
                yield Finding(
                    "fail",
                    "tasks",
                    f'No worker listens to the queue "{queue}" of {name}.',
                    f"celery -A {current_app.main} worker --queues {','.join(sorted({*consumed, queue}))}",
                )
        if sound:
            yield Finding(
                "ok", "tasks", f"The workers know all {len(names)} job tasks and listen to their queues."
            )

    # --- All of them ------------------------------------------------------------------------------------------------

    def send_probe(self, wait: Callable[[float], object] = sleep) -> Iterator[Finding]:
        """Accept a job that does nothing, wait for its end, and delete it."""
        job = Job(operation=probe.name, task=probe.name, input={}, max_attempts=1)
        began = monotonic()
        try:
            accept(job)
            while not job.is_final and monotonic() - began < self.seconds:
                wait(0.05)
                job.refresh_from_db(fields=["state", "problem", "started_at", "finished_at"])
        except Error as error:
            yield Finding(
                "fail", "probe", f"No job could be stored: {type(error).__name__}", "See the database."
            )
            return
        verdict = self._judge(job, monotonic() - began)
        retention.forget(job)
        yield verdict

    def _judge(self, job: Job, seconds: float) -> Finding:
        if job.state == State.SUCCEEDED:
            return Finding("ok", "probe", f"A job made the round trip in {seconds:.2f} s.")
        if job.is_final:
            message = f"A job that does nothing ended as {job.state}: {job.problem and job.problem['detail']}"
            return Finding("fail", "probe", message, "See the worker's log.")
        return Finding(
            "fail",
            "probe",
            f"After {self.seconds:g} s a job that does nothing is still {job.state}.",
            "See the worker's log. Do web and workers use the same database and the same broker?",
        )


def _check_order() -> Iterator[Finding]:
    """MariaDB has a type for UUIDs that sorts time-ordered ones (version 7) by other bytes, up to some versions."""
    connection: Any = connections[database()]
    if connection.vendor != "mysql" or not connection.mysql_is_mariadb:
        return
    version = connection.mysql_version
    series = version[:2]
    if (10, 7) <= series <= (11, 2) and version < (*series, SORTED_SINCE.get(series, 99)):
        yield Finding(
            "warn",
            "database",
            f"MariaDB {'.'.join(map(str, version))} does not sort ids by time, so lists of jobs are in no order.",
            "Take MariaDB 10.11.6 or later.",
        )


def _check_eviction(broker: Broker) -> Iterator[Finding]:
    """A Redis that drops keys when it is full drops queues with them."""

    def ask(producer: Any) -> dict[str, Any]:
        client: Any = getattr(producer.channel, "client", None)
        # Not CONFIG, which a hosted Redis refuses.
        return dict(client.info("memory")) if hasattr(client, "info") else {}

    try:
        answer = broker.use(ask)
    except Exception:  # it forbids the question, and answers for the rest
        return
    policy = answer.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not policy.startswith("volatile") and answer.get("maxmemory"):
        yield Finding(
            "warn",
            "broker",
            f"Redis drops queues when its memory is full (maxmemory-policy is {policy}); jobs then wait for the relay.",
            "redis-cli config set maxmemory-policy noeviction",
        )
