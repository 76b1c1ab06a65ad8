"""Triggers that store every change of the state of a job and of a delivery, whoever makes it. Polls could miss one."""

from typing import Any, NamedTuple
from uuid import UUID

from .databases import Postgres

__all__ = ["Change", "Step", "install", "job_id", "read", "read_steps"]

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
CREATE TABLE steps (n bigserial, delivery uuid, old_state text, new_state text, attempt int);
CREATE FUNCTION witness_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO steps (delivery, old_state, new_state, attempt) VALUES (NEW.id, OLD.state, NEW.state, NEW.attempt);
    RETURN NEW;
END $$;
CREATE TRIGGER witness_step AFTER UPDATE OF state ON async_accept_webhooks_delivery
FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION witness_step();
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
    """
CREATE TABLE steps
    (n bigint AUTO_INCREMENT PRIMARY KEY, delivery varchar(36), old_state varchar(10), new_state varchar(10),
     attempt int)
""",
    """
CREATE TRIGGER witness_step AFTER UPDATE ON async_accept_webhooks_delivery FOR EACH ROW
IF OLD.state <> NEW.state THEN
    INSERT INTO steps (delivery, old_state, new_state, attempt) VALUES (NEW.id, OLD.state, NEW.state, NEW.attempt);
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


class Step(NamedTuple):
    """One change of the state of a delivery."""

    delivery: str
    old: str
    new: str
    attempt: int


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


def read_steps(database: Any) -> list[Step]:
    """Return all changes of deliveries in their order."""
    rows = database.execute("SELECT delivery, old_state, new_state, attempt FROM steps ORDER BY n")
    return [Step(str(UUID(str(pk))), *rest) for pk, *rest in rows]


def job_id(value: Any) -> str:
    """Return the id of a job as it is in URLs, from a value of any of the databases or from a URL."""
    return str(UUID(str(value).rstrip("/").rsplit("/", 1)[-1]))
