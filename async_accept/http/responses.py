"""The responses to an accepted request: the 202, and the result once the job has ended."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.files.base import File
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django_celery_results.models import TaskResult
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.response import Response

from .. import encoding
from ..conf import conf
from ..jobs import results
from ..jobs.watcher import watcher
from ..models import Job
from ..problems import OWN
from .errors import ProblemResponse, problem_response
from .links import job_url
from .monitor import retry_after, status_document, sunset
from .negotiation import can_stream, with_panel
from .outages import own_statements
from .own import Promise
from .prefer import Preferences
from .renderers import AcceptBrowsableAPIRenderer, PlainJSONRenderer
from .transactions import commit_early

__all__ = ["VARY", "accepted", "promised", "result_response"]

#: The request headers that a response depends on, for its ``Vary``.
VARY = ("Accept", "Prefer", "Authorization", "Cookie")


def promised(job: Job, request: Any, preferences: Preferences) -> Response:
    """Return the 202 for a stored job; or its result, if the job ends while the client waits (``Prefer: wait``).

    Raises:
        Http404: the job was deleted meanwhile.
        Unavailable: it has ended, and cannot be read at the moment (503); a repeat with its key gets it.
    """
    asked = preferences.wait_seconds
    seconds = min(asked, int(conf.MAX_WAIT_SECONDS)) if asked else 0
    ended: bool | None = None  # it did not wait
    # Inside a transaction nobody else sees the job, so it cannot end.
    if seconds and commit_early(request):
        ended = watcher.wait(job, seconds, for_end=True)
    if ended:
        with own_statements():
            response = result_response(_read_again(job), request)
    else:
        response = accepted(job, request)
    return _apply(preferences, response, waited=None if ended is None else seconds)


def accepted(job: Job, request: Any) -> Response:
    """Return the 202: the status document, and every header that a client may follow."""
    document = status_document(job, request)
    monitor_url, result_url = document["url"], document["result_url"]
    headers = {
        "Location": result_url,
        "Operation-Location": monitor_url,
        "Content-Location": monitor_url,
        "Link": f'<{monitor_url}>; rel="monitor", <{result_url}>; rel="related"; title="result"',
        "Cache-Control": "no-store",
        "Retry-After": str(retry_after(job)),
    }
    response = Promise(document, status=202, headers=headers)
    response.job = job  # type: ignore[attr-defined] # for renderers that show more than the document
    request._request.accept_promise = request, response
    return response


def result_response(job: Job, request: Any) -> Response:
    """Return what the result URL answers once the job has ended: what a synchronous call would have answered.

    That is the view's own answer, also if it is a 4xx, whatever ``Accept`` says. Any other failure is a problem, 409
    or the task's own 4xx. An expired result is a 410 problem.
    """
    if job.is_expired:
        response: Any = problem_response("result-expired")
    elif job.problem is None or job.response is not None:
        response = _stored(job, request) or _problem(job)
    else:
        response = _problem(job)
    response["Operation-Location"] = job_url(job, request)
    response["Cache-Control"] = "private, no-cache"
    for name, value in sunset(job).items():
        response[name] = value
    return response  # type: ignore[no-any-return]


def _problem(job: Job) -> Response:
    """Return the problem of *job*; if it has none, its result is gone.

    Raises:
        Http404: the job is gone with it; it was deleted after it was read.
    """
    if job.problem is None:
        _read_again(job)
        return problem_response("result-expired")
    response = ProblemResponse(job.problem, status=job.problem["status"])
    if job.problem["detail"] not in OWN:
        response.language = None
    return response


def _stored(job: Job, request: Any) -> Any:
    """Return what the work has answered, byte for byte; None if it is not kept any more."""
    try:
        result = results.load(job)
    except TaskResult.DoesNotExist:
        return None
    if result.is_json:
        return JSONAnswer(result)
    if isinstance(result.body, File):
        chunks = _chunks if not can_stream(request) else _chunks_async
        response: Any = StreamingHttpResponse(
            chunks(result.body), status=result.status, headers=result.headers, reason=result.reason
        )
        response["Content-Length"] = str(result.body.size)
        response._resource_closers.append(
            result.body.close
        )  # nobody may read it: HEAD, a client that is gone
    else:
        response = HttpResponse(
            result.body or b"", status=result.status, headers=result.headers, reason=result.reason
        )
    _set_type(response, result.content_type)
    return response


def _set_type(response: Any, content_type: str | None) -> None:
    if content_type is None:
        del response["Content-Type"]
    else:
        response["Content-Type"] = content_type


def _chunks(file: "File[Any]") -> Iterator[bytes]:
    with file:
        yield from file.chunks()


async def _chunks_async(file: "File[Any]") -> AsyncIterator[bytes]:
    with file:
        while chunk := await sync_to_async(file.read)(file.DEFAULT_CHUNK_SIZE):
            yield chunk


class JSONAnswer(Response):
    """JSON that the work has answered. No view and no renderer changes it; a browser gets the page around it."""

    def __init__(self, result: results.Result) -> None:
        super().__init__(status=result.status, headers=result.headers)
        if result.reason is not None:
            self.reason_phrase = result.reason
        self.result = result

    @property
    def data(self) -> Any:
        return encoding.loads(str(self.result.body))

    @data.setter
    def data(self, data: Any) -> None:
        """Change nothing."""

    def shown_by(self, view: Any) -> Any:
        """Return the renderer of the data in a page of the browsable API."""
        return PlainJSONRenderer()

    @property
    def rendered_content(self) -> Any:
        if isinstance(self.accepted_renderer, BrowsableAPIRenderer):
            [self.accepted_renderer] = with_panel([self.accepted_renderer])
            if isinstance(self.accepted_renderer, AcceptBrowsableAPIRenderer):
                return super().rendered_content
        _set_type(self, self.result.content_type)
        return str(self.result.body).encode()


def _read_again(job: Job) -> Job:
    found = Job.objects.filter(pk=job.pk, forgotten=False).first()
    if found is None:
        raise Http404
    return found


def _apply(preferences: Preferences, response: Response, *, waited: int | None) -> Response:
    """Honour ``return=minimal``, and name the preferences that were honoured (RFC 7240, section 3).

    Args:
        waited: how many seconds were granted; None: it did not wait.
    """
    applied = []
    if response.status_code == 202 and preferences.respond_async:
        applied.append("respond-async")
    if waited is not None:
        applied.append(f"wait={waited}")
    if response.status_code == 202 and preferences.minimal:
        response.data = response.document = None  # type: ignore[attr-defined] # a Promise
        applied.append("return=minimal")
    if applied:
        response["Preference-Applied"] = ", ".join(applied)
    return response
