"""The doctor: would a 202 given now be kept? It asks the database, the broker and the workers, and runs one job.

System checks read the settings only. Each question of the doctor has a bound on time, and each failure a hint.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

from celery import current_app
from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import Error, connections
from django.test import RequestFactory
from django.urls import NoReverseMatch

from ..conf import conf
from ..exceptions import BrokerUnavailable
from ..http.links import job_url
from ..jobs import publish, retention
from ..jobs.accept import accept
from ..jobs.broker import Broker
from ..models import Job, database, new_id
from ..states import State
from ..tasks import JobTask, probe
from . import invariants, pools, servers
from .messages import TAG, Finding, fail, ok, warn
from .views import queues_of_views

__all__ = ["Doctor", "Finding"]

#: The task that sends notices. Not imported: that app need not be installed.
DELIVER = "async_accept.webhooks.deliver"
#: Which pools of Celery keep no such time limit (https://docs.celeryq.dev/en/stable/userguide/workers.html#time-limits).
WITHOUT = {
    "hard": ("thread", "solo", "eventlet"),
    "soft": ("thread", "solo", "eventlet", "gevent"),
}
#: What to do about jobs that should not be as they are.
RELAY = "Run a relay: start a worker, or python manage.py async_accept relay"
REPORT = "No relay mends this. If no code of yours has changed these rows, please report it."


@dataclass
class Doctor:
    """One examination.

    Args:
        seconds: how long to wait for a worker's reply, and for the probe job.
    """

    seconds: float = 10.0
    #: What works, for the questions that need it.
    database_works: bool = field(default=False, init=False)
    broker_works: bool = field(default=False, init=False)
    workers: list[str] = field(default_factory=list, init=False)

    def examine(self) -> Iterator[Finding]:
        """Yield the findings, subject by subject."""
        yield from self.check_settings()
        yield from self.check_database()
        if self.database_works:
            yield from self.check_jobs()
        yield from self.check_broker()
        if self.broker_works:
            yield from self.check_workers()
        if self.workers:
            yield from self.check_tasks()
            yield from self.check_limits()
        if self.database_works and (self.workers or current_app.conf.task_always_eager):
            yield from self.send_probe()
        yield from self.check_urls()

    # --- This process ---------------------------------------------------------------------------------

    def check_settings(self) -> Iterator[Finding]:
        """Run the system checks."""
        messages = [m for m in checks.run_checks(tags=[TAG]) if m.level >= checks.WARNING]
        for message in messages:
            found = fail if message.level >= checks.ERROR else warn
            yield found("settings", f"{message.msg} ({message.id})", message.hint or "")
        if not messages:
            yield ok("settings", "The system checks find nothing.")

    def check_urls(self) -> Iterator[Finding]:
        """Make a job's URL as for a request from outside."""
        allowed = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
        origins = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if "*" not in origin]
        hosts = [*(urlsplit(origin).netloc for origin in origins), *allowed, "localhost"]
        outside = hosts[0]
        request = RequestFactory().get("/", headers={"host": outside, "x-forwarded-proto": "https"})
        try:
            url = job_url(Job(pk=new_id()), request)
        except NoReverseMatch:
            return  # a system check reports it; or the URLs are below a version, which this request does not have
        except Exception as error:
            yield fail("urls", f"No URL can be made for {outside}: {error}", "See ALLOWED_HOSTS.")
            return
        if "*" in settings.ALLOWED_HOSTS:
            yield warn(
                "urls",
                "ALLOWED_HOSTS has '*': whoever forges a Host header decides where the URLs of a 202 point to.",
                f'ALLOWED_HOSTS = ["{outside}"]',
            )
        https = settings.SECURE_SSL_REDIRECT or any(origin.startswith("https:") for origin in origins)
        if https and not url.startswith("https:"):
            yield warn(
                "urls",
                f"Behind a proxy that speaks HTTPS, the URLs of a 202 would be {url}",
                'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")',
            )
        else:
            yield ok("urls", f"The URLs of a 202 look like {url}")

    # --- The database ------------------------------------------------------------------------------------

    def check_database(self) -> Iterator[Finding]:
        """Reach the database and look for missing migrations."""
        try:
            missing = servers.missing_migrations()
        except Error as error:
            # Without its message, which may hold a password.
            reason = f"It does not answer: {type(error).__name__}"
            yield fail("database", reason, "See DATABASES, and the database's log.")
            return
        if missing:
            yield fail("database", f"Not migrated: {', '.join(missing)}", "python manage.py migrate")
            return
        self.database_works = True
        yield ok("database", f"{connections[database()].vendor} answers and is migrated.")
        yield from servers.check_id_order()
        yield from servers.check_clock()
        yield from servers.check_isolation()

    def check_jobs(self) -> Iterator[Finding]:
        """Look for jobs that nothing acts on, or whose columns contradict each other."""
        violations = list(invariants.violations())
        for violation in violations:
            yield fail("jobs", str(violation), RELAY if violation.relay_helps else REPORT)
        if not violations:
            waiting = Job.objects.filter(state=State.ACCEPTED).count()
            yield ok("jobs", f"Every job has ended or has a time for its next step; {waiting} wait.")

    # --- The broker ------------------------------------------------------------------------------------------

    def check_broker(self) -> Iterator[Finding]:
        """Reach the broker, and see that it keeps messages."""
        address = current_app.connection_for_write().as_uri()  # without the password
        broker = Broker(min(self.seconds, 5.0))
        try:
            broker.check()
            self.broker_works = True
            yield ok("broker", f"{address} answers.")
            yield from servers.check_eviction(broker)
        except BrokerUnavailable as error:
            yield fail("broker", f"{address} does not answer: {error}", "See CELERY_BROKER_URL.")
        finally:
            broker.close()

    # --- The workers --------------------------------------------------------------------------------------------

    def _ask(self, question: str) -> dict[str, Any]:
        """Return the workers' replies by name. If the workers are known, it ends as soon as all have replied."""
        inspect = current_app.control.inspect(
            timeout=min(self.seconds, 2.0), destination=self.workers or None
        )
        return getattr(inspect, question)() or {}

    def check_workers(self) -> Iterator[Finding]:
        """Ping the workers."""
        self.workers = sorted(self._ask("ping"))
        if self.workers:
            yield ok("workers", f"{', '.join(self.workers)} answer.")
        elif current_app.conf.task_always_eager:
            yield ok("workers", "None is needed: task_always_eager is on.")
        else:
            yield fail("workers", "No worker answers, so jobs wait.", f"celery -A {current_app.main} worker")
        if self.workers and pools.largest_pool() is not None:
            yield from servers.check_pools(self._ask("stats"))
        if not conf.RELAY_IN_WORKER:
            yield warn(
                "workers",
                "RELAY_IN_WORKER is off: a job whose message was lost waits until you run a relay.",
                "python manage.py async_accept relay",
            )

    def check_tasks(self) -> Iterator[Finding]:
        """See that some worker knows each job task and listens to its queue."""
        names = sorted(name for name, task in current_app.tasks.items() if isinstance(task, JobTask))
        registered = {line.split(" ", 1)[0] for lines in self._ask("registered").values() for line in lines}
        consumed = {queue["name"] for queues in self._ask("active_queues").values() for queue in queues}
        found = [finding for name in names for finding in _check_task(name, registered, consumed)]
        if apps.is_installed("async_accept.webhooks"):
            found += _check_deliveries(registered, consumed)
        found += [
            finding for queue, place in queues_of_views() for finding in _check_queue(queue, place, consumed)
        ]
        if self.database_works:
            found += _unknown_tasks(registered)
        yield from found
        if not found:
            yield ok("tasks", f"The workers know all {len(names)} job tasks and listen to their queues.")

    def check_limits(self) -> Iterator[Finding]:
        """See that the workers' pools keep the time limits of tasks; some have none."""
        app = current_app
        tasks = [task for task in app.tasks.values() if isinstance(task, JobTask)]
        hard = any(task.time_limit for task in tasks) or app.conf.task_time_limit
        soft = any(task.soft_time_limit for task in tasks) or app.conf.task_soft_time_limit
        for worker, reply in sorted(self._ask("stats").items()):
            pool = str(reply.get("pool", {}).get("implementation", "")).partition(":")[0].rpartition(".")[2]
            lacks = [
                name for name, asked in (("hard", hard), ("soft", soft)) if asked and pool in WITHOUT[name]
            ]
            if lacks:
                yield warn(
                    "workers",
                    f"{worker} has the pool {pool}, which knows no {' and no '.join(lacks)} time limit: jobs of tasks "
                    "with one run until they end.",
                    f"celery -A {app.main} worker --pool prefork",
                )

    # --- All of them ------------------------------------------------------------------------------------------------

    def send_probe(self, wait: Callable[[float], object] = sleep) -> Iterator[Finding]:
        """Accept a job that does nothing, wait until it has ended, and delete it."""
        job = Job(operation=probe.name, task=probe.name, input={}, max_attempts=1)
        began = monotonic()
        try:
            accept(job)
            while not job.is_final and monotonic() - began < self.seconds:
                wait(0.05)
                job.refresh_from_db(fields=["state", "problem", "started_at", "finished_at"])
        except Error as error:
            yield fail("probe", f"No job could be stored: {type(error).__name__}", "See the database.")
            return
        finding = self._judge(job, monotonic() - began)
        retention.forget(job)
        yield finding

    def _judge(self, job: Job, seconds: float) -> Finding:
        if job.state == State.SUCCEEDED:
            return ok("probe", f"A job that does nothing succeeded in {seconds:.2f} s.")
        if job.is_final:
            message = f"A job that does nothing ended as {job.state}: {job.problem and job.problem['detail']}"
            return fail("probe", message, "See the worker's log.")
        return fail(
            "probe",
            f"After {self.seconds:g} s a job that does nothing is still {job.state}.",
            "See the worker's log. Do web and workers use the same database and the same broker?",
        )


def _unknown_tasks(registered: set[str]) -> Iterator[Finding]:
    """Find the tasks of waiting jobs that no worker knows: they were renamed or removed."""
    waiting = Job.objects.filter(state=State.ACCEPTED).order_by()
    # The names first: they are few.
    unknown = set(waiting.values_list("task", flat=True).distinct()) - registered
    for name in sorted(unknown):
        yield fail(
            "tasks",
            f"No worker knows {name}, and {waiting.filter(task=name).count()} jobs wait for it.",
            "Give the task its old name back, or cancel the jobs: see Upgrade, and go back.",
        )


def _check_task(name: str, registered: set[str], consumed: set[str]) -> Iterator[Finding]:
    queue = publish.queue_of(name)
    if name not in registered:
        yield fail("tasks", f"No worker knows {name}.", "Restart the workers with the current code.")
    elif queue is not None:
        yield from _check_queue(queue, name, consumed)


def _check_deliveries(registered: set[str], consumed: set[str]) -> Iterator[Finding]:
    """See that the notices leave: their task is no job's, and has a queue of its own."""
    if DELIVER not in registered:
        yield fail("tasks", f"No worker knows {DELIVER}.", "Restart the workers with the current code.")
    else:
        yield from _check_queue(conf.WEBHOOK_QUEUE, "the webhooks", consumed)


def _check_queue(queue: str, place: str, consumed: set[str]) -> Iterator[Finding]:
    if queue not in consumed:
        queues = ",".join(sorted({*consumed, queue}))
        yield fail(
            "tasks",
            f'No worker listens to the queue "{queue}" of {place}.',
            f"celery -A {current_app.main} worker --queues {queues}",
        )
