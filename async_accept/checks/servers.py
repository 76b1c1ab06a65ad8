"""What the doctor asks the database and the broker: what settings cannot tell."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from ..db.functions import DatabaseNow
from ..jobs.broker import Broker
from ..models import database
from .messages import Finding, warn
from .pools import connections_needed, largest_pool

__all__ = [
    "SNAPSHOT",
    "check_clock",
    "check_eviction",
    "check_id_order",
    "check_isolation",
    "check_pools",
    "isolation_by_server",
    "isolation_hint",
    "missing_migrations",
]

#: People notice a difference between two machines' clocks if it is larger than this.
CLOCK_SECONDS = 5.0
#: For each series of MariaDB, the first version that sorts UUIDs of version 7 by time (MDEV-29959, MDEV-31926).
SORTED_SINCE = {(10, 10): 7, (10, 11): 6, (11, 0): 4, (11, 1): 3, (11, 2): 2}

#: What the session's isolation level is if ``OPTIONS`` has none.
ISOLATION_QUESTIONS = {
    "postgresql": "SHOW default_transaction_isolation",
    # MySQL and newer versions of MariaDB, or older ones.
    "mysql": "SHOW SESSION VARIABLES WHERE variable_name IN ('transaction_isolation', 'tx_isolation')",
}
#: What is wrong with a level above read committed.
SNAPSHOT = (
    "a transaction does not see what others commit meanwhile. So atomic work that takes longer than a heartbeat may "
    "fail to commit, and a repeat inside of a transaction may not find the first job."
)


def missing_migrations() -> list[str]:
    """Return the migrations of jobs, results and webhooks that the database lacks.

    Raises:
        django.db.Error: the database cannot be reached.
    """
    connection = connections[database()]
    connection.ensure_connection()
    executor = MigrationExecutor(connection)
    leaves = executor.loader.graph.leaf_nodes()
    ours = ("async_accept", "async_accept_webhooks", "django_celery_results")
    wanted = [node for node in leaves if node[0] in ours]
    return [str(migration) for migration, _ in executor.migration_plan(wanted)]


def check_id_order() -> Iterator[Finding]:
    """Warn of a MariaDB that does not sort ids by time.

    It has a type for UUIDs since 10.7, which at first sorted time-ordered ones (version 7) by other bytes.
    """
    connection: Any = connections[database()]
    if connection.vendor != "mysql" or not connection.mysql_is_mariadb:
        return
    version = connection.mysql_version
    series = version[:2]
    if (10, 7) <= series <= (11, 2) and version < (*series, SORTED_SINCE.get(series, 99)):
        yield warn(
            "database",
            f"MariaDB {'.'.join(map(str, version))} does not sort ids by time, so lists of jobs have no order.",
            "Use MariaDB 10.11.6 or later.",
        )


def isolation_hint(vendor: str) -> str:
    """Return the line for ``OPTIONS`` that sets the isolation level."""
    level = '"read committed"' if vendor == "mysql" else "IsolationLevel.READ_COMMITTED"
    return f'"isolation_level": {level},'


def isolation_by_server() -> str | None:
    """Return the isolation level that the role, the database or the server sets; None if all is well.

    What ``OPTIONS`` says wins, and a system check reads it there.

    Raises:
        django.db.Error: the database cannot be reached.
    """
    connection = connections[database()]
    question = ISOLATION_QUESTIONS.get(connection.vendor)
    if question is None or connection.settings_dict["OPTIONS"].get("isolation_level"):
        return None
    with connection.cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
    level = str(row[-1]).replace("-", " ").lower() if row else ""
    return None if level in ("", "read committed", "read uncommitted") else level


def check_isolation() -> Iterator[Finding]:
    """Warn of an isolation level that is not in the settings."""
    level = isolation_by_server()
    if level is not None:
        hint = isolation_hint(connections[database()].vendor)
        yield warn("database", f"Its role or its server sets the isolation level {level}: {SNAPSHOT}", hint)


def check_pools(workers: dict[str, Any]) -> Iterator[Finding]:
    """Warn of workers that need more database connections than their pool has.

    Args:
        workers: their replies to ``inspect stats``, by name.
    """
    size = largest_pool()
    for name, stats in workers.items():
        pool = stats.get("pool") or {}
        needed = connections_needed(str(pool.get("implementation") or ""), pool.get("max-concurrency"))
        if size is not None and size < needed:
            yield warn(
                "workers",
                f"{name} needs {needed} database connections in a process, and its pool has {size}: jobs may be taken "
                "for lost while it waits for one.",
                f'"pool": {{"max_size": {needed}}},',
            )


def check_clock() -> Iterator[Finding]:
    """Warn if the database's clock and this machine's disagree."""
    rows = ContentType.objects.using(database()).annotate(now=DatabaseNow())  # any table with a row
    now = rows.values_list("now", flat=True).first()
    if now is None or not settings.USE_TZ:
        return
    apart = abs((timezone.now() - now).total_seconds())
    if apart > CLOCK_SECONDS:
        yield warn(
            "database",
            f"Its clock and this machine's are {apart:.0f} s apart.",
            "Synchronise both with a time server (NTP).",
        )


def check_eviction(broker: Broker) -> Iterator[Finding]:
    """Warn of a Redis that drops queues if its memory is full."""

    def ask(producer: Any) -> dict[str, Any]:
        client: Any = getattr(producer.channel, "client", None)
        # Not CONFIG, which a hosted Redis refuses.
        return dict(client.info("memory")) if hasattr(client, "info") else {}

    try:
        memory = broker.use(ask)
    except Exception:  # this Redis forbids INFO, and works otherwise
        return
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and not policy.startswith("volatile") and memory.get("maxmemory"):
        yield warn(
            "broker",
            f"Redis drops queues if its memory is full (maxmemory-policy is {policy}); jobs then wait for the relay.",
            "redis-cli config set maxmemory-policy noeviction",
        )
