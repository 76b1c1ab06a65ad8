"""The base of every receiver: verify, store, acknowledge.

Nothing of a request is looked at before its signature is verified, and nothing is done before the event is stored. What
is wrong with a genuine event is the job's to tell: the sender would only send it again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from .. import encoding
from ..conf import conf
from ..exceptions import AcceptRefused, NotVerified, Unavailable, Unencodable
from ..http.links import job_url
from ..http.transactions import OptedOut
from ..jobs.events import ReceivedEvent
from ..models import Job
from . import answers, storing
from .body import read_body, remember_bodies
from .schemes import Message, Scheme

__all__ = ["Receiver", "listed"]

logger = logging.getLogger(__name__)


def listed(secrets: Any) -> list[Any]:
    """Return one secret, or several, as a list; what is no secret stays in it, so that it can be told."""
    return list(secrets or ()) if isinstance(secrets, list | tuple | set | frozenset | None) else [secrets]


class Receiver(View):
    """A webhook's URL: verifies each request, stores its event as a job, and answers 202.

    Subclass one of the senders' receivers, and say with which secret, under which operation, and what is to be done::

        class PaymentEvents(StripeReceiver):
            secrets_setting = "STRIPE_WEBHOOK_SECRETS"
            accept_operation = "payments.event"
            accept_task = handle_payment        # a JobTask that takes the event; or define handle(self, event)

    The answers: 202 if the event is stored, or was before; one and the same 401 if it cannot be verified, whatever is
    wrong; 413 and 411 as for any accepting view; 429 and 503 with ``Retry-After`` if it cannot be stored now. The jobs
    have no owner: only staff who may see all jobs can follow them.
    """

    http_method_names = ["post", "options"]

    #: How the sender signs.
    scheme: ClassVar[Scheme]
    #: The secret; several while one is replaced by the next; or a method that returns either.
    secrets: Any = ()
    #: The name of the project's setting that has them, looked up for each request.
    secrets_setting: str | None = None
    #: How far the time in the request may be from now, in both directions; None: any time. Only for senders that sign
    #: the time.
    tolerance: timedelta | None = timedelta(minutes=5)
    #: Scheme and host (and a path, if a proxy strips one) under which the sender knows this site. Only for senders that
    #: sign the URL; "" where it has to be set.
    public_url: str | None = None
    #: How long a repeated event is recognised, also after its job is purged. Longer than the sender repeats: three days
    #: with GitHub and Stripe. While its job is kept, it is recognised for ``IDEMPOTENCY_KEY_LIFETIME`` in any case.
    keep_ids: timedelta = timedelta(days=7)
    #: The header with the sender's id of the event.
    id_header: str = ""
    #: Whether that id is part of what is verified. If not, the body tells a repeat: else a captured request with a new
    #: id would be a new event.
    id_is_signed: bool = False
    #: Whether two requests with the same body are the same event if they have no id.
    same_body_is_repeat: bool = True
    #: The headers of this sender that the work gets.
    sender_headers: Sequence[str] = ()

    #: A stable name of what is received, such as ``payments.event``.
    accept_operation: str = ""
    #: The task (a ``JobTask``) that does the work, with the event as its argument; None: ``handle()`` does.
    accept_task: Any = None
    #: Commit what ``handle()`` does and the end of its job in one transaction.
    accept_atomic: bool = True
    #: Whether ``handle()`` may be repeated if its worker was lost; None: yes if it is atomic.
    accept_retry_when_lost: bool | None = None
    #: The names of further headers that the work gets.
    accept_headers: Any = ()
    #: The largest body in bytes (413); None: ``MAX_INPUT_BYTES``.
    accept_max_bytes: int | None = None
    #: The status of the acknowledgement; some senders want exactly 200.
    accept_status: int = 202
    #: The body of the acknowledgement: text, or data for JSON; None: the ids of the jobs.
    accept_body: Any = None
    #: As for an accepting view.
    accept_queue: str | None = None
    accept_priority: int | None = None
    accept_time_limit: float | None = None
    accept_soft_time_limit: float | None = None

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        view: Any = csrf_exempt(super().as_view(**initkwargs))
        view.login_required = False  # LoginRequiredMiddleware: the signature is the login
        # The event is all that is stored, in a transaction of its own: so its failure can be answered, too.
        view._non_atomic_requests = OptedOut()
        remember_bodies(initkwargs.get("accept_max_bytes", cls.accept_max_bytes))
        return view  # type: ignore[no-any-return]

    # --- To override ------------------------------------------------------------------------------------

    def handle(self, event: ReceivedEvent) -> Any:
        """Do the work, in the worker; ``accept_task`` stands for it. What it returns is the job's result."""
        raise NotImplementedError

    def event_id(self, event: ReceivedEvent) -> str | None:
        """Return the signed id of *event*, which is the same in each repeat; None if there is none."""
        return event.headers.get(self.id_header) if self.id_header and self.id_is_signed else None

    def order_key(self, event: ReceivedEvent) -> Any:
        """Return what *event* is about, such as the id of an order; None for no order.

        Events with the same key are worked off one at a time, in the order in which they came. The next one waits until
        the one before has ended, however that ends.
        """
        return None

    def sequence(self, event: ReceivedEvent) -> int | None:
        """Return a number that grows with each event of its ``order_key()``, such as the time when it happened.

        Events do not always come in their order. If a later one has been worked off, an older one ends as ``canceled``
        with the problem ``superseded``.
        """
        return None

    def handshake(self, event: ReceivedEvent) -> HttpResponse | None:
        """Return the answer to a verified request that is no event; None for an event."""
        return None

    def split(self, event: ReceivedEvent) -> list[ReceivedEvent] | None:
        """Return the events of a request that brings several, which become as many jobs, or none; None for one."""
        return None

    @method_decorator(sensitive_variables())
    def verify(self, request: HttpRequest, body: bytes) -> bool:
        """Tell whether *request* comes from the sender. It must not raise for whatever the request has.

        Raises:
            Unavailable: the receiver has no secret (503).
        """
        return self.scheme.verify(
            request.headers,
            self.message(request, body),
            self.get_secrets(),
            now=time.time(),
            tolerance=self.tolerance,
        )

    def message(self, request: HttpRequest, body: bytes) -> Message:
        """Return what of *request* may be signed; its time and id are in the headers."""
        return Message(body, url=self.signed_url(request), content_type=request.content_type or "")

    # --- One request -------------------------------------------------------------------------------------

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Receive one request."""
        try:
            return self.receive(request)
        except AcceptRefused as refusal:
            return answers.refused(refusal)
        except Unencodable:
            return answers.refused(NotVerified())  # no sender knows a URL that cannot be stored
        except Error as error:
            return answers.refused(Unavailable.because(error))  # nothing is stored: the sender tries again

    def receive(self, request: HttpRequest) -> HttpResponse:
        """Return the acknowledgement.

        Raises:
            NotVerified: 401.
            InputTooLarge, LengthRequired: 413, 411; before the body is read.
            TooManyJobs, Unavailable: 429, 503; nothing is stored, and the sender tries again.
        """
        limit = conf.MAX_INPUT_BYTES if self.accept_max_bytes is None else self.accept_max_bytes
        body = read_body(request, limit)
        if not self.verify(request, body):
            raise NotVerified
        event = self.event_of(request, body)
        answer: HttpResponse | None = storing.read(self.handshake, event)
        if answer is not None:
            return answer
        return self.acknowledge(request, storing.store(self, request, event))

    def event_of(self, request: HttpRequest, body: bytes) -> ReceivedEvent:
        """Return the event in *request*, with the headers that are kept: never the one that verifies it."""
        own = [self.accept_headers] if isinstance(self.accept_headers, str) else self.accept_headers
        names = ["Content-Type", self.id_header, *self.sender_headers, *own]
        kept = {name: value for name in names if (value := request.headers.get(name)) is not None}
        kept = {
            name: value
            for name, value in kept.items()
            if name.lower() != self.scheme.header.lower() and encoding.text(value) == value
        }
        scope = {name: str(value) for name, value in self.kwargs.items()}
        return ReceivedEvent(kept.get(self.id_header, ""), body, kept, scope)

    def acknowledge(self, request: HttpRequest, jobs: Sequence[Any]) -> HttpResponse:
        """Return the acknowledgement of stored events; of one, it names the job's URLs, for staff.

        Args:
            jobs: the ids of their jobs.
        """
        headers = {}
        if len(jobs) == 1:
            job = Job(pk=jobs[0])
            with suppress(NoReverseMatch, DisallowedHost):
                headers["Location"] = job_url(job, request, "result")
                headers["Operation-Location"] = job_url(job, request)
        body = {"jobs": list(map(str, jobs))} if self.accept_body is None else self.accept_body
        return answers.acknowledged(self.accept_status, body, headers)

    def read_again(self, event: ReceivedEvent) -> None:
        """Read an event again, in the worker, that could not be read when it came.

        Raises:
            Exception: it still cannot be read. Its job fails with that error.
        """
        storing.describe(self, event)
        self.split(event)
        self.handshake(event)

    # --- Secrets -----------------------------------------------------------------------------------------

    @method_decorator(sensitive_variables())
    def get_secrets(self) -> list[str]:
        """Return the secrets that can be used.

        Raises:
            Unavailable: there is none, so nothing can be verified (503). This is logged.
        """
        found = self.secrets() if callable(self.secrets) else self.secrets
        if self.secrets_setting is not None:
            found = getattr(settings, self.secrets_setting, ())
        given = listed(found)
        usable = list(filter(self.scheme.can_use, given))
        if len(usable) < len(given) or not usable:
            logger.error("%s has no secret, or one that cannot be used.", type(self).__name__)
        if not usable:
            raise Unavailable
        return usable

    def signed_url(self, request: HttpRequest) -> str:
        """Return the URL of *request* as the sender knows it; "" if ``public_url`` is not set."""
        return self.public_url.rstrip("/") + request.get_full_path() if self.public_url else ""
