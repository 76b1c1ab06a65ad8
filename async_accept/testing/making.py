"""Makes jobs in any state."""

from typing import Any

from ..conf import conf
from ..jobs import results
from ..jobs.limits import task_limits
from ..jobs.replay import REPLAY
from ..models import Job, database_now, new_id
from ..problems import Problem, problem
from ..states import FINAL, State

__all__ = ["make_job"]


def make_job(
    task: Any = REPLAY,
    *,
    state: str = State.ACCEPTED,
    result: Any = None,
    **columns: Any,
) -> Job:
    """Store a job in any state, by the same steps that lead there in production.

    Args:
        task: a ``JobTask``, or a task's name.
        state: ``accepted``, ``running``, ``canceling``, ``succeeded``, ``failed`` or ``canceled``.
        result: the result of a succeeded job.
        columns: further columns, such as ``owner``, ``progress``, ``input`` or ``finished_at``. Without an owner
            the job is an anonymous caller's, unless ``anonymous=False``.
    """
    name = task if isinstance(task, str) else task.name
    columns = {"operation": name.rpartition(".")[2], "anonymous": columns.get("owner") is None, **columns}
    if not isinstance(task, str):
        columns = {**task_limits(task), **columns}
    # What accepting does not know yet is written over what the steps have left.
    later = {key: columns.pop(key) for key in LATER & columns.keys()}
    columns.setdefault("id", new_id(anonymous=columns["anonymous"]))
    job = Job(task=name, dispatch_at=database_now() + conf.REPUBLISH_AFTER, **columns)
    job.save(force_insert=True)
    _lead(job, State(state), result, later.get("problem"))
    if later:
        Job.objects.filter(pk=job.pk).update(**later)
    job.refresh_from_db()
    return job


#: Columns that a transition would write over.
LATER = {
    "attempt",
    "dispatch_at",
    "expires_at",
    "finished_at",
    "lease_until",
    "problem",
    "progress",
    "queue",
    "response",
    "started_at",
    "sweep_at",
    "updated_at",
    "worker",
    "worker_pid",
}


def _lead(job: Job, state: State, result: Any, document: Problem | None) -> None:
    if state == State.ACCEPTED:
        return
    if state == State.CANCELED:
        job.cancel()
        return
    job.claim("worker@test", 1)
    if state == State.CANCELING:
        job.cancel()
    elif state == State.SUCCEEDED:
        results.succeed(job, results.encode(result))
    elif state == State.FAILED:
        results.fail(job, document or problem("failed"), RuntimeError("failed on purpose"), None)
    assert state in FINAL or job.state == state
