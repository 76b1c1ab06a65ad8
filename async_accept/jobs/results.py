"""What a job leaves in celery's result storage, together with its final state, in one transaction.

The row is the one that Celery itself would write, so that its readers can read it: JSON is the result as it is, and
other text is a JSON string. Only what text cannot say is in base64; what is too large for a row is a file.

The job's UPDATE comes first. It is conditional on the attempt, so an attempt that was given up for lost writes nothing.
"""

import logging
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from http.client import responses as usual_reasons
from json import JSONDecodeError
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple

from celery import states as celery_states
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile, File
from django.db import router
from django.db.models import Model, QuerySet
from django.http.response import HttpResponseBase
from django_celery_results.models import TaskResult
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED, HTTP_304_NOT_MODIFIED

from .. import encoding
from ..conf import conf
from ..db.errors import is_outage
from ..db.updates import Upsert
from ..exceptions import NOT_FINAL, ResultNotFinal, ResultTooLarge, Unencodable, ViewFailed
from ..models import OBJECT_ID_CHARS, Job
from ..problems import Problem
from ..words import words
from . import files

__all__ = ["Result", "close", "encode", "fail", "load", "read", "stored", "succeed"]

logger = logging.getLogger(__name__)

#: Marks our rows: celery's own backend writes nothing but "children" there.
META = '{"children":[],"async_accept":true}'
#: The columns of a TaskResult that are ours.
OURS = (
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
)
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


#: A reason phrase is cut to this length.
REASON_CHARS = 200
#: Statuses that have no body (RFC 9110, section 15).
BODILESS = frozenset({204, 205, 304})
JSON = "application/json"


class Result(NamedTuple):
    """What the work answered, byte for byte: status, headers and body.

    A ``str`` is JSON, as it is sent; ``bytes`` are anything else, and a file is what is too large for the database.
    ``content_type`` is None if the answer has none. ``created`` is the object that the work has created. ``reason`` is
    the reason phrase, if it is not the usual one of the status.
    """

    status: int
    headers: dict[str, str]
    body: "str | bytes | File[Any] | None"
    content_type: str | None = JSON
    created: Model | None = None
    reason: str | None = None

    def __repr__(self) -> str:
        # Celery logs what a task returns.
        return f"<Result {self.status}>"

    @property
    def is_json(self) -> bool:
        return isinstance(self.body, str)


def encode(value: Any) -> Result:
    """Return the result for what a task or a view returned; ``close()`` that afterwards.

    A response that is rendered keeps its status, headers and bytes. The data of one that is not becomes plain JSON, and
    so does any other value: the body of a 200. None is a 204.

    Raises:
        Unencodable: strict JSON cannot say it.
        ResultNotFinal: the response ends nothing (1xx or 304).
        ResultTooLarge: JSON above ``MAX_RESULT_BYTES``, or anything else above ``MAX_RESULT_FILE_BYTES``.
        ViewFailed: the response is an error (4xx or 5xx).
    """
    if isinstance(value, HttpResponseBase):
        return _of(value)
    return (
        Result(200, {}, _bounded(encoding.dumps(value))) if value is not None else Result(204, {}, None, None)
    )


def _of(response: Any) -> Result:
    status = int(response.status_code)
    headers = {k: str(v) for k, v in response.headers.items() if k.lower() not in TRANSIENT_HEADERS}
    if status >= 400:
        answer = None
        with suppress(ResultTooLarge, Unencodable):  # then a problem tells of it
            answer = Result(status, headers, *_content(response), reason=_reason(response))
        is_final = status < 500 and status not in NOT_FINAL
        raise ViewFailed(status, _data(response, answer), answer if is_final else None)
    if status < 200 or status == HTTP_304_NOT_MODIFIED:
        raise ResultNotFinal(status)
    body, content_type = _content(response)
    reason = _reason(response)
    if status == 202:
        status, reason = 200, None  # a result is never 202: clients would follow it for ever
    if body is None and status == 200 and (response.status_code == 202 or not _is_rendered(response)):
        status, content_type = 204, None
    body = None if status in BODILESS else body
    return Result(status, headers, body, content_type, _created(response), reason)


def _reason(response: Any) -> str | None:
    """Return the reason phrase of *response*; None if it is what Django says for the status."""
    usual = usual_reasons.get(response.status_code, "Unknown Status Code")
    return None if response.reason_phrase == usual else encoding.text(response.reason_phrase, REASON_CHARS)


def _is_rendered(response: Any) -> bool:
    return not isinstance(response, Response) or response.is_rendered


def _data(response: Any, answer: Result | None) -> Any:
    """Return what an error says, as data; None if it is no JSON."""
    if isinstance(response, Response):
        return response.data
    return encoding.loads(answer.body) if answer is not None and isinstance(answer.body, str) else None


def _content(response: Any) -> "tuple[str | bytes | File[Any] | None, str | None]":
    """Return the body of *response*, and its content type."""
    if not _is_rendered(response):
        kind = words(response.content_type) or JSON
        return (None, None) if response.data is None else (_bounded(encoding.dumps(response.data)), kind)
    kind = response.get("Content-Type")
    body = _read(response)
    if not body:
        return None, kind
    if _is_json(kind):
        if len(body) > conf.MAX_RESULT_BYTES:
            raise _too_large(conf.MAX_RESULT_BYTES)
        with suppress(UnicodeDecodeError):
            text = bytes(body).decode() if isinstance(body, bytes) else ""
            with suppress(JSONDecodeError):
                encoding.check(text)
                return text, kind
    return body, kind


def _is_json(content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == JSON or kind.endswith("+json")


def _read(response: Any) -> "bytes | File[Any]":
    """Return the content of *response*; a file if it is too large for the database."""
    if not response.streaming:
        content = bytes(response.content)
        if len(content) > conf.MAX_RESULT_FILE_BYTES:
            raise _too_large(conf.MAX_RESULT_FILE_BYTES)
        return content if len(content) <= conf.MAX_RESULT_BYTES else ContentFile(content)
    spool: Any = SpooledTemporaryFile(max_size=conf.MAX_RESULT_BYTES)  # noqa: SIM115 it may leave here
    size = 0
    try:
        for part in response:
            size += len(part)
            if size > conf.MAX_RESULT_FILE_BYTES:
                raise _too_large(conf.MAX_RESULT_FILE_BYTES)
            spool.write(part)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    if size > conf.MAX_RESULT_BYTES:
        return SizedFile(spool, size)
    with spool:
        return bytes(spool.read())


class SizedFile(File):  # type: ignore[type-arg] # it is generic in stubs only
    """A temporary file, whose size is known."""

    def __init__(self, file: Any, size: int) -> None:
        super().__init__(file, name="result")
        self.size = size


def close(value: Any) -> None:
    """Close *value* if it is a response, as a server does that has sent it: it may own files, or delete them.

    What goes wrong is logged: the work is done.
    """
    if not isinstance(value, HttpResponseBase):
        return
    kind: Any = type(value)
    try:
        value.__class__ = _without_signal(kind)
        value.close()
    except Exception as error:  # anybody's code
        logger.warning("A %s could not be closed: %s", kind.__qualname__, type(error).__name__)


@lru_cache(maxsize=256)
def _without_signal(kind: Any) -> Any:
    same = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(kind.__name__, (kind, NoRequest), same)


class NoRequest(HttpResponseBase):
    """Comes right before Django's base of all responses, which would say that a request has finished.

    Django would close the worker's connections.
    """

    def close(self) -> None:
        for closer in self._resource_closers:  # type: ignore[attr-defined]
            with suppress(Exception):  # as Django does
                closer()
        self._resource_closers.clear()  # type: ignore[attr-defined]
        self.closed = True


def _created(response: Any) -> Model | None:
    """Return the object that REST framework's serializer has created for *response*, a 201."""
    serializer = getattr(getattr(response, "data", None), "serializer", None)
    instance = getattr(serializer, "instance", None)
    if response.status_code != HTTP_201_CREATED or not isinstance(instance, Model) or instance.pk is None:
        return None
    return instance if len(str(instance.pk)) <= OBJECT_ID_CHARS else None


def _bounded(text: str) -> str:
    if encoding.size_bytes(text) > conf.MAX_RESULT_BYTES:
        raise _too_large(conf.MAX_RESULT_BYTES)
    return text


def _too_large(limit: int) -> ResultTooLarge:
    return ResultTooLarge(f"The result has more than {limit} bytes.")


# --- Store ---------------------------------------------------------------------------------------------------


def succeed(job: Job, result: Result, **shown: Any) -> bool:
    """End this attempt with a result; False if the attempt no longer holds the job.

    A job that is about no object yet is about the one that its work has created.

    Args:
        shown: columns that show the last progress.
    """
    with _kept(job, result) as (response, value):
        if result.created is not None and job.object_id is None:
            kind = ContentType.objects.get_for_model(result.created, for_concrete_model=False)
            shown |= {
                "object_type_id": kind.pk,
                "object_id": str(result.created.pk),
                "object_created": True,
            }
        return job.succeed(response, beside=_row(job, celery_states.SUCCESS, value), **shown)


def fail(job: Job, document: Problem, error: BaseException, traceback: str | None, **shown: Any) -> bool:
    """End this attempt with a problem; False if the attempt no longer holds the job.

    The exception's message is not stored: it may hold what no reader of that table may see. The traceback is, and the
    admin shows it to those who may.

    Args:
        shown: columns that show the last progress.
    """
    answer = error.answer if isinstance(error, ViewFailed) else None
    kept = _kept(job, answer) if answer is not None else nullcontext((None, None))
    with kept as (response, value):
        kind = type(error)
        told = {
            "exc_type": kind.__qualname__,
            "exc_module": kind.__module__,
            "exc_message": [document["detail"]],
        }
        if value is not None:
            told["answer"] = value
        row = _row(job, celery_states.FAILURE, encoding.dumps(told), traceback)
        return job.fail(document, response=response, beside=row, **shown)


@contextmanager
def _kept(job: Job, result: Result) -> "Iterator[tuple[dict[str, Any], str | None]]":
    """Return how *result* is kept: what the job's row says of it, and its body as JSON text.

    A file is saved; it is removed again on an error, unless the database was away: the job may be stored, and only the
    confirmation was lost. What is left over then, ``remove_orphans()`` finds.
    """
    response: dict[str, Any] = {"status": result.status, "headers": result.headers}
    response["content_type"] = result.content_type
    if result.reason is not None:
        response["reason"] = result.reason
    match result.body:
        case None:
            yield response, None
        case str() as text:
            yield response | {"kept": "json"}, text
        case bytes() as content:
            yield response | {"kept": "bytes"}, encoding.dumps(_plain(content))
        case file:
            name = files.save(job, file)
            size = {"file": name, "size": file.size}
            try:
                yield response | {"kept": "file"} | size, encoding.dumps(size)
            except BaseException as error:
                if not is_outage(error):
                    files.delete([name])
                raise


def _plain(content: bytes) -> Any:
    """Return *content* as text, so that people can read it in the result storage; else in base64."""
    with suppress(UnicodeDecodeError):
        if b"\0" not in content:
            return content.decode()
    return {"base64": b64encode(content).decode()}


# --- Read ----------------------------------------------------------------------------------------------------


def load(job: Job) -> Result:
    """Return what *job* left, as ``encode()`` has made it; also the own 4xx of a view. A file is open.

    Raises:
        TaskResult.DoesNotExist: ``stored()`` finds nothing, or the file is gone.
    """
    response = job.response or {"status": 200, "headers": {}}
    text = read(job)
    if job.problem is not None and text is not None:
        text = encoding.loads(text).get("answer")
    kind = response.get("content_type", JSON)
    reason = response.get("reason")
    return Result(response["status"], response["headers"], _body(response, text), kind, reason=reason)


def _body(response: Mapping[str, Any], text: str | None) -> "str | bytes | File[Any] | None":
    kept = response.get("kept", "json")
    if kept == "file":
        try:
            return files.open(response["file"])
        except OSError as error:
            logger.exception("The file of a result is gone; web and workers must share UPLOAD_STORAGE.")
            raise TaskResult.DoesNotExist from error
    if text is None or kept == "json":
        return text
    value = encoding.loads(text)
    return b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()


def read(job: Job) -> str | None:
    """Return what the result storage holds of *job*, as JSON text; None if the result has no body.

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


def _row(job: Job, status: str, body: str | None, traceback: str | None = None) -> Upsert:
    """Return the TaskResult; what somebody else has stored under the job's id is written over."""
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
    return Upsert(row, key="task_id", updated=OURS)
