"""A trigger that stores every change of a job's state, whoever makes it. Polls could miss one."""

from typing import Any, NamedTuple
from uuid import UUID

from .databases import Postgres

__all__ = ["Change", "install", "job_id", "read"]

POSTGRES = """
CREATE TABLE transitions
    (n bigserial, job uuid, old_state text, new_state text, attempt int, worker text, at double precision);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO transitions (job, old_state, new_state, attempt, worker, at) VALUES
        (NEW.id, OLD.state, NEW.state, NEW.attempt, NEW.worker, extract(epoch FROM clock_timestamp()));
    RETURN NEW;
END $$;
CREATE TRIGGER witness AFTER UPDATE OF state ON async_accept_job
FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION witness();
"""
MARIADB = (
    """
CREATE TABLE transitions
    (n bigint AUTO_INCREMENT PRIMARY KEY, job varchar(36), old_state varchar(10), new_state varchar(10), attempt int,
     worker varchar(255), at double)
""",
    """
CREATE TRIGGER witness AFTER UPDATE ON async_accept_job FOR EACH ROW
IF OLD.state <> NEW.state THEN
    INSERT INTO transitions (job, old_state, new_state, attempt, worker, at) VALUES
        (NEW.id, OLD.state, NEW.state, NEW.attempt, NEW.worker, UNIX_TIMESTAMP(SYSDATE(6)));
END IF
""",
)


class Change(NamedTuple):
    """One change of a job's state. The time is a Unix time by the database's clock."""

    job: str
    old: str
    new: str
    attempt: int
    worker: str
    at: float


def install(database: Any) -> None:
    for statement in (POSTGRES,) if isinstance(database, Postgres) else MARIADB:
        database.execute(statement)


def read(database: Any) -> list[Change]:
    """Return all changes in their order."""
    rows = database.execute(
        "SELECT job, old_state, new_state, attempt, worker, at FROM transitions ORDER BY n"
    )
    return [
        Change(job_id(job), old, new, attempt, worker, float(at))
        for job, old, new, attempt, worker, at in rows
    ]


def job_id(value: Any) -> str:
    """Return the id of a job as it is in URLs, from a value of any of the databases or from a URL."""
    return str(UUID(str(value).rstrip("/").rsplit("/", 1)[-1]))
