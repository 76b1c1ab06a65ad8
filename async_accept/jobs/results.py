"""What a job leaves in celery's result storage, together with its final state, in one transaction.

The job's UPDATE comes first. It is conditional on the attempt, so an attempt that was given up for lost writes nothing.
"""

from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any, NamedTuple

from celery import states as celery_states
from django.contrib.contenttypes.models import ContentType
from django.db import connections, router, transaction
from django.db.models import Model, QuerySet
from django.http.response import HttpResponseBase
from django_celery_results.models import TaskResult
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED, HTTP_304_NOT_MODIFIED

from .. import encoding
from ..conf import conf
from ..exceptions import ResultNotFinal, ResultTooLarge, ViewFailed
from ..models import OBJECT_ID_CHARS, Job, database
from ..problems import Problem

__all__ = ["Result", "content", "encode", "fail", "read", "stored", "succeed"]

#: Marks our rows: celery's own backend writes nothing but "children" there.
META = '{"children":[],"async_accept":true}'
#: A traceback is cut to this length, keeping its end.
TRACEBACK_CHARS = 50_000
#: Headers that are not kept. They belong to one transfer, to one connection (RFC 9110, section 7.6.1) or to one reader:
#: the response to the reader's own request sets them.
TRANSIENT_HEADERS = frozenset(
    {
        *(
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "via",
        ),
        *("accept-ranges", "age", "content-length", "content-type", "date", "server"),
        *("cache-control", "expires", "pragma", "vary"),
        *("proxy-authenticate", "proxy-authentication-info", "set-cookie", "www-authenticate"),
        *("allow", "preference-applied", "retry-after"),
    }
)


class Result(NamedTuple):
    """What success left: status, headers, and the body as JSON text (None for no body).

    ``content_type`` is set if the body is no JSON; ``content()`` then returns its bytes. ``created`` is the object that
    the work has created.
    """

    status: int
    headers: dict[str, str]
    body: str | None
    content_type: str | None = None
    created: Model | None = None


def encode(value: Any) -> Result:
    """Return the result for what a task or a view returned.

    A response, REST framework's or Django's, keeps its status and headers, and its content type if that is no JSON.
    Any other value is the body of a 200, and None is a 204.

    Raises:
        Unencodable: strict JSON cannot say it.
        ResultTooLarge: above ``MAX_RESULT_BYTES``.
        ResultNotFinal: the response ends nothing (1xx or 304).
        ViewFailed: the response is an error (4xx or 5xx).
    """
    status, headers, content_type, created = 200, {}, None, None
    if isinstance(value, HttpResponseBase):
        created = _created(value)
        response, (value, content_type) = value, _body(value)
        if response.status_code >= 400:
            raise ViewFailed(response.status_code, None if content_type else value)
        if response.status_code < 200 or response.status_code == HTTP_304_NOT_MODIFIED:
            raise ResultNotFinal(response.status_code)
        # A result is never 202: clients would follow it for ever.
        status = 200 if response.status_code == 202 else response.status_code
        headers = {k: str(v) for k, v in response.headers.items() if k.lower() not in TRANSIENT_HEADERS}
    if value is None or status in (204, 205):
        return Result(204 if status == 200 else status, headers, None, created=created)
    body = encoding.dumps(value)
    if encoding.size_bytes(body) > conf.MAX_RESULT_BYTES:
        raise _too_large()
    return Result(status, headers, body, content_type, created)


def content(body: Any) -> bytes:
    """Return the bytes of a body that is no JSON, from what was stored of it."""
    return b64decode(body["base64"]) if isinstance(body, dict) else str(body).encode()


def _body(response: Any) -> tuple[Any, str | None]:
    """Return what is stored of the body of *response*, and its content type if that is no JSON.

    JSON is kept as data, which the result URL renders as its reader asks; everything else as it is.
    """
    if isinstance(response, Response):
        renderer = getattr(response, "accepted_renderer", None)
        if (
            renderer is None
            or response.status_code >= 400
            or isinstance(renderer, JSONRenderer | BrowsableAPIRenderer)
        ):
            return response.data, None
        response.render()
    raw = _read(response)
    kind = response.get("Content-Type", "application/octet-stream")
    if not raw:
        return None, None
    if kind.partition(";")[0].strip().lower() == "application/json":
        with suppress(ValueError):
            return encoding.loads(raw), None
    with suppress(UnicodeDecodeError):
        if b"\0" not in raw:
            return raw.decode(), kind
    return {"base64": b64encode(raw).decode()}, kind


def _read(response: Any) -> bytes:
    """Return the content of *response*; of a stream no more is read than can be kept."""
    if not response.streaming:
        return bytes(response.content)
    read = bytearray()
    try:
        for part in response:
            read += part
            if len(read) > conf.MAX_RESULT_BYTES:
                raise _too_large()
    finally:
        # Not response.close(): it says that a request has finished, and the worker's connections would be closed.
        for close in response._resource_closers:
            close()
    return bytes(read)


def _created(response: Any) -> Model | None:
    """Return the object that REST framework's serializer has created for *response*, a 201."""
    serializer = getattr(getattr(response, "data", None), "serializer", None)
    instance = getattr(serializer, "instance", None)
    if response.status_code != HTTP_201_CREATED or not isinstance(instance, Model) or instance.pk is None:
        return None
    return instance if len(str(instance.pk)) <= OBJECT_ID_CHARS else None


def _too_large() -> ResultTooLarge:
    return ResultTooLarge(f"The result has more than {conf.MAX_RESULT_BYTES} bytes.")


def succeed(job: Job, result: Result, **shown: Any) -> bool:
    """End this attempt with a result; False if the attempt no longer holds the job.

    A job that is about no object yet is about the one that its work has created.

    Args:
        shown: columns that show the last progress.
    """
    with transaction.atomic(using=database(), savepoint=False):
        response = {"status": result.status, "headers": result.headers}
        if result.content_type is not None:
            response["content_type"] = result.content_type
        if result.created is not None and job.object_id is None:
            kind = ContentType.objects.get_for_model(result.created, for_concrete_model=False)
            shown |= {
                "object_type_id": kind.pk,
                "object_id": str(result.created.pk),
                "object_created": True,
            }
        if not job.succeed(response, **shown):
            return False
        _store(job, celery_states.SUCCESS, result.body)
    return True


def fail(job: Job, document: Problem, error: BaseException, traceback: str | None, **shown: Any) -> bool:
    """End this attempt with a problem; False if the attempt no longer holds the job.

    The exception's message is not stored: it may hold what no reader of that table may see. The traceback is, and the
    admin shows it to those who may.

    Args:
        shown: columns that show the last progress.
    """
    with transaction.atomic(using=database(), savepoint=False):
        if not job.fail(document, **shown):
            return False
        kind = type(error)
        body = encoding.dumps(
            {
                "exc_type": kind.__qualname__,
                "exc_module": kind.__module__,
                "exc_message": [document["detail"]],
            }
        )
        _store(job, celery_states.FAILURE, body, traceback)
    return True


def read(job: Job) -> str | None:
    """Return the result's body as JSON text; None if the result has no body.

    Raises:
        TaskResult.DoesNotExist: ``stored()`` finds nothing.
    """
    body: str | None = stored(job).values_list("result", flat=True).get()
    return body


def stored(job: Job) -> QuerySet[TaskResult]:
    """Find what Celery's result storage keeps of *job*: one row, or none. Read that table in no other way.

    The row is gone if Celery's clean-up was faster than ``RESULT_LIFETIME``. It does not count if somebody wrote over
    it: Celery's own backend does so for every message with the job's id. Such a row lacks our mark.
    """
    rows: QuerySet[TaskResult] = TaskResult.objects.using(router.db_for_write(TaskResult))
    return rows.filter(task_id=str(job.pk), meta=META)


def _store(job: Job, status: str, body: str | None, traceback: str | None = None) -> None:
    """Write the TaskResult by one upsert."""
    row = TaskResult(
        task_id=str(job.pk),
        task_name=job.task,
        status=status,
        worker=job.worker[:100] or None,
        content_type="application/json",
        content_encoding="utf-8",
        result=body,
        traceback=encoding.text(traceback[-TRACEBACK_CHARS:]) if traceback else None,
        meta=META,
        date_started=job.started_at,
    )
    manager = TaskResult.objects.using(router.db_for_write(TaskResult))
    needs_target = connections[manager.db].features.supports_update_conflicts_with_target
    manager.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["task_id"] if needs_target else None,
        update_fields=[
            "task_name",
            "status",
            "worker",
            "content_type",
            "content_encoding",
            "result",
            "traceback",
            "meta",
            "date_started",
            "date_done",
        ],
    )
