"""Millions of ended jobs by SQL alone: copies of the jobs in the table, each shifted into the past. For PostgreSQL.

``make_jobs`` makes some thousand jobs a second; the server copies a hundred thousand in a few seconds.
"""

from datetime import timedelta

from django.db import connection
from django_celery_results.models import TaskResult

from async_accept.conf import conf
from async_accept.models import Job

__all__ = ["copy_into_the_past"]

#: A UUID of version 7 begins with 48 bits of milliseconds.
EARLIER = """(lpad(to_hex(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint - %(milliseconds)s), 12, '0')
    || substr(replace(id::text, '-', ''), 13))::uuid"""
#: Jobs of anonymous callers have random ids.
NEW_ID = f"CASE WHEN anonymous THEN md5(id::text || %(number)s)::uuid ELSE {EARLIER} END"
#: What differs in a copy; all other columns are the same.
CHANGED = {
    "id": NEW_ID,
    "idempotency_key": "md5(idempotency_key || %(number)s) || md5(%(number)s || idempotency_key)",
    "sweep_at": """CASE WHEN expires_at - %(shift)s < now() THEN finished_at - %(shift)s + %(lifetime)s
        ELSE expires_at - %(shift)s END""",
    **{
        name: f"{name} - %(shift)s"
        for name in ("created_at", "updated_at", "started_at", "finished_at", "expires_at")
    },
}
#: The results that are still kept.
KEPT = f"""(SELECT {NEW_ID}::text AS new_id, id::text AS old_id FROM ended
    WHERE expires_at - %(shift)s > now()) AS copies"""


def copy_into_the_past(copies: int, step: timedelta) -> None:
    """Copy every ended job so many times, each copy a *step* older than the one before."""
    changed = {field.column: CHANGED.get(field.column, field.column) for field in Job._meta.concrete_fields}
    results = {
        field.column: field.column for field in TaskResult._meta.concrete_fields if field.column != "id"
    }
    results["task_id"] = "new_id"
    jobs_table, results_table = Job._meta.db_table, TaskResult._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE ended AS SELECT * FROM {jobs_table} WHERE finished_at IS NOT NULL"
        )
        for number in range(1, copies + 1):
            shift = number * step
            given = {"number": str(number), "shift": shift, "lifetime": conf.JOB_LIFETIME}
            given["milliseconds"] = shift // timedelta(milliseconds=1)
            cursor.execute(_insert(jobs_table, changed, "ended"), given)
            source = f"{KEPT} JOIN {results_table} ON task_id = old_id"
            cursor.execute(_insert(results_table, results, source), given)
        cursor.execute("DROP TABLE ended")
        cursor.execute(f"VACUUM ANALYZE {jobs_table}, {results_table}")


def _insert(table: str, columns: dict[str, str], source: str) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {source}"
