"""The way of one request to a view that accepts: decide, check, store the job, answer 202.

Every check comes before the job is stored; after that, only a deletion of the job can fail the request (404).
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connections, models, transaction
from django.http import Http404
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from ..conf import conf
from ..exceptions import InputTooLarge, Unencodable
from ..jobs import keys, uploads
from ..jobs.accept import Terms, accept, active_columns, rerun
from ..jobs.once import Checks, checks_of, in_use
from ..jobs.operations import check_operation
from ..jobs.parsed import files_of, input_of, payload
from ..jobs.replay import job_of
from ..models import OBJECT_ID_CHARS, Job, database, new_id
from ..querysets import user_model
from . import body, prefer
from .conditional import check_if_match
from .generic import VERBS, operation_of
from .options import AcceptOptions
from .outages import own_statements
from .renderers import adopt_form_key
from .rerun import Rerun, rerun_of
from .responses import promised
from .work import work_columns

__all__ = ["BEFORE_STORING", "Acceptance"]

#: What *prepare* returns: the validated input and the object, or a response that is the answer.
Prepared = tuple[Any, Any] | HttpResponseBase

#: What another app does with a request and its job before that is stored; it may refuse the request by raising.
BEFORE_STORING: list[Callable[["Acceptance", Job], None]] = []


class Acceptance:
    """One request to a view that accepts.

    Args:
        view: the view's instance; what it does not say is the default of ``AcceptOptions``.
        given: options of a decorator, by their names without ``accept_``.
    """

    def __init__(self, view: Any, request: Request, given: Mapping[str, Any] | None = None) -> None:
        self.view = view
        self.request = request
        self.given = given or {}

    def option(self, name: str, default: Any = None) -> Any:
        """Return the option *name*: the decorator's, else the view's; *default* if both are None."""
        value = self.given.get(name)
        if value is None:
            attribute = f"accept_{name}"
            value = getattr(self.view, attribute, getattr(AcceptOptions, attribute))
        return default if value is None else value

    def hook(self, name: str) -> Any:
        """Return the method *name* of the view; the default one if it has none of the mixins."""
        own = getattr(self.view, name, None)
        return getattr(AcceptOptions, name).__get__(self.view) if own is None else own

    # --- Deciding ---------------------------------------------------------------------------------------

    def decide(self, prepare: Callable[[], Prepared], work: Callable[[], Any] | None = None) -> Any:
        """Accept the request, or answer it at once; a repeat gets the first 202 again.

        Normally the INSERT finds a repeat. If this process has seen the key, or the request would be refused or
        answered at once, the first job of the key is looked up: the first request's own work may be why this one
        would be refused (the object is gone, say).

        Args:
            prepare: makes the checks of the request and returns the validated input and the object. If it returns a
                response, that is the answer.
            work: does the work now, always if the method changes nothing (``GET``); None if *prepare* decides that.

        Raises:
            IdempotencyKeyMissing, IdempotencyKeyInvalid: before anything is done (400).
            IdempotencyKeyReused: the key came with another payload before (422).
            AcceptRefused: see ``async_accept.jobs.accept.accept()``; nothing is stored.
        """
        if work is not None and (self.request.method not in VERBS or job_of(self.request) is not None):
            return work()
        if self.rerun is not None:
            return self.decide_again(self.rerun, prepare)
        _ = self.key  # a malformed one is refused in every mode
        if work is not None and not self.is_wanted:
            return self.first_answer() or work()
        self.check_body()
        if (answer := self.first_answer(if_seen=True)) is not None:
            return answer
        try:
            prepared = self._prepared(prepare)
        except (APIException, Http404, PermissionDenied):
            first = self.first_job()
            if first is None:
                raise
            set_rollback()  # as REST framework does for what was raised; before the wait, which commits
            return promised(first, self.request, self.preferences)
        if isinstance(prepared, HttpResponseBase):
            return self.first_answer() or prepared
        return self.store(*prepared)

    def _prepared(self, prepare: Callable[[], Prepared]) -> Prepared:
        """Return what *prepare* returns; called again in a transaction, if it has missed one.

        A view whose handler opens a transaction may lock what it looks up (``select_for_update()``).
        """
        with in_use(self.request._request), uploads.held_open(files_of(self.request)):
            try:
                return prepare()
            except transaction.TransactionManagementError:
                if connections[database()].in_atomic_block:
                    raise
            with transaction.atomic(using=database()):
                return prepare()

    def decide_again(self, again: Rerun, prepare: Callable[[], Prepared]) -> HttpResponseBase:
        """Accept a rerun, whatever the mode of the view; a repeat gets the first new job again.

        The new job has the input of the old one. So what *prepare* stores in the database is rolled back, and if it
        would answer at once, there is a job all the same.

        Returns:
            An empty 202, and ``again.stored`` has the job; or the refusal that *prepare* has returned.
        """
        checks = self._checks_again(again)
        try:
            self.check_body()
            with transaction.atomic(using=database()), in_use(self.request._request):
                prepared = prepare()
                transaction.set_rollback(True, using=database())
        except (APIException, Http404, PermissionDenied):
            again.stored = keys.earlier_by_key(Job(**again.key_columns))
            if again.stored is None:
                raise
            return Response(status=202)
        active = None
        if isinstance(prepared, HttpResponseBase):
            if prepared.status_code >= 400:
                return prepared
        elif again.has_data:
            active = self.active_columns(prepared[0])
        again.stored = rerun(again.job, self.terms, active, checks, **again.key_columns)
        return Response(status=202)

    def _checks_again(self, again: Rerun) -> dict[str, Any] | None:
        """Let the ``@once`` checks of the input stand, such as that of a code which can be used once.

        Permissions of the view were checked before, anew.

        Returns:
            What the new job keeps of its checks; None for a task, which keeps none.
        """
        if "checks" not in again.job.request:
            return None
        kept: dict[str, Any] = again.job.request["checks"]
        anew = checks_of(self.request._request).keep()
        self.request._request.accept_checks = Checks(kept)  # type: ignore[attr-defined]
        return kept | anew

    @cached_property
    def rerun(self) -> Rerun | None:
        """The rerun that this request is; None for an ordinary request."""
        return rerun_of(self.request)

    @property
    def has_data(self) -> bool:
        """Whether the request has its data, so that they can be validated."""
        return self.rerun is None or self.rerun.has_data

    @cached_property
    def key(self) -> str | None:
        """The request's ``Idempotency-Key``; None if there is none. A request that changes nothing needs none.

        Raises:
            IdempotencyKeyMissing: the view requires one (400).
            IdempotencyKeyInvalid: malformed (400).
        """
        policy = self.option("idempotency", conf.IDEMPOTENCY) if self.request.method in VERBS else "ignored"
        return keys.requested_key(self.request.META.get("HTTP_IDEMPOTENCY_KEY"), policy)

    @cached_property
    def preferences(self) -> prefer.Preferences:
        """What the client prefers (``Prefer``, RFC 7240)."""
        return prefer.parse(self.request.META.get("HTTP_PREFER"))

    @property
    def is_wanted(self) -> bool:
        """Whether this request is accepted for later; otherwise the view answers at once."""
        mode = self.option("mode", conf.ACCEPT_MODE)
        if callable(mode):
            mode = mode(self.request)
        if mode == "prefer":
            return self.preferences.respond_async
        if mode in ("always", "never"):
            return bool(mode == "always")
        raise ImproperlyConfigured(
            f"{type(self.view).__name__}.accept_mode is {mode!r}; "
            "it can be 'always', 'prefer', 'never' or a method that returns one of these."
        )

    # --- Checks ------------------------------------------------------------------------------------------

    def check_body(self) -> None:
        """Refuse a body above the limit before it is read, and one that is nested too deeply to be stored.

        Raises:
            InputTooLarge: the body is above the limit (413).
            LengthRequired: its length is not told, and the server cannot hand it over (411).
            ParseError: it is nested too deeply (400).
        """
        if self.is_too_long:
            raise InputTooLarge
        body.check_depth(self.request)

    @cached_property
    def is_too_long(self) -> bool:
        length, own = body.length_bytes(self.request), self.option("max_bytes")
        if own is not None:
            return bool(length > own)
        as_data, as_upload = (
            limit is not None and length > limit for limit in (conf.MAX_INPUT_BYTES, conf.MAX_UPLOAD_BYTES)
        )
        if as_data == as_upload:  # nobody has to look for the parser
            return as_data
        return as_upload if body.is_upload(self.request) else as_data

    def check_if_match(self) -> None:
        """Compare ``If-Match`` with the entity tag of the view's object, if the view has tags.

        Raises:
            PreconditionFailed: it names another version (412).
        """
        header = self.request.META.get("HTTP_IF_MATCH")
        if header is None:
            return
        tag = self.hook("get_accept_etag")(self.view.get_object())
        if tag is not None:
            check_if_match(header, tag)

    def adopt_form_key(self) -> None:
        """Find the ``Idempotency-Key`` in a browser's form; a form above the limit stays unread."""
        if not self.is_too_long:
            adopt_form_key(self.request)

    # --- The job -----------------------------------------------------------------------------------------

    def store(self, validated: Any = None, instance: Any = None) -> Response:
        """Store a job for this request and return the 202; the result itself if it comes while the client waits.

        Raises:
            ValidationError: the input has no strict JSON form, such as a NUL character (400).
            AcceptRefused: nothing is stored.
        """
        if self.request.method not in VERBS:
            raise ImproperlyConfigured(
                f"{type(self.view).__name__} accepts {self.request.method}, which must change nothing."
            )
        try:
            with own_statements():
                job = self.make_job(validated, instance)
                for prepare in BEFORE_STORING:
                    prepare(self, job)
                stored = accept(job, self.terms)
        except Unencodable as error:
            raise ValidationError({"detail": [str(error)]}) from error
        return promised(stored, self.request, self.preferences)

    def first_answer(self, *, if_seen: bool = False) -> Response | None:
        """Return the answer to the first request with this one's key, again; None if that key is free.

        Args:
            if_seen: look for it only if this process has seen the key.

        Raises:
            IdempotencyKeyReused: it came with another payload (422).
        """
        first = self.first_job(if_seen=if_seen)
        return None if first is None else promised(first, self.request, self.preferences)

    def first_job(self, *, if_seen: bool = False) -> Job | None:
        """Return the job of the first request with this one's key; as ``first_answer()``."""
        if self.key is None or self.is_too_long:
            return None
        try:
            columns = self.key_columns
        except (ImproperlyConfigured, RecursionError, Unencodable):
            return None  # what cannot be stored was not accepted before
        if if_seen and not keys.is_seen(columns["idempotency_key"]):
            return None
        with own_statements():
            return keys.earlier_by_key(Job(**columns))

    def make_job(self, validated: Any, instance: Any) -> Job:
        """Build the job, without storing it.

        Raises:
            Unencodable: the input has no strict JSON form.
            ImproperlyConfigured: the caller is known, but is no user of the project's: nobody could own the job. Or the
                name of the operation is too long.
        """
        owner, operation = self.owner_id, self.operation
        check_operation(operation, type(self.view).__name__)
        job = Job(
            id=new_id(anonymous=owner is None),
            owner_id=owner,
            anonymous=owner is None,
            operation=operation,
            **work_columns(self, validated),
            **self.active_columns(validated),
            **(self.key_columns if self.key is not None else {}),
        )
        if owner is not None:
            Job.owner.field.set_cached_value(job, self.owner)
        if isinstance(instance, models.Model) and len(str(instance.pk)) <= OBJECT_ID_CHARS:
            kind = ContentType.objects.get_for_model(instance, for_concrete_model=False)
            job.object_type_id, job.object_id = kind.pk, str(instance.pk)
        return job

    def active_columns(self, validated: Any) -> dict[str, Any]:
        """Return the columns of the active key that the view makes of the request."""
        make = self.option("active_key")
        active = None if make is None else make(self.request, validated)
        try:
            hashed = None if active is None else keys.fingerprint([self.operation, active])
        except Unencodable as error:
            raise ImproperlyConfigured(
                f"{type(self.view).__name__}.accept_active_key() returned a {type(active).__name__}. {error}"
            ) from error
        return active_columns(hashed, joins=active is None or self.option("when_active") == "join")

    @property
    def operation(self) -> str:
        """The name of what is asked for: the view's own, or made of its name and the action."""
        return self.option("operation") or operation_of(self.view, self.request)

    @cached_property
    def owner(self) -> Any:
        """The user who asks; None for an anonymous caller, to whom the URL is the key.

        Raises:
            ImproperlyConfigured: somebody is logged in who is no stored user of the project's.
        """
        user: Any = self.request.user
        if isinstance(user, user_model()) and user.pk is not None:
            return user
        if user is None or not getattr(user, "is_authenticated", True):
            return None
        raise ImproperlyConfigured(
            f"request.user is a {type(user).__name__} and no stored {settings.AUTH_USER_MODEL}, so nobody could own "
            "the job, follow it, or be who its replay acts for. "
            "Let the view's authentication return a user of the project."
        )

    @property
    def owner_id(self) -> Any:
        """The primary key of the owner, as the column has it: an authentication may have made the user of a text.

        Not the user itself: a router may have read that from a replica, and forbid relations across databases.
        """
        owner = self.owner
        return None if owner is None else owner._meta.pk.to_python(owner.pk)

    @cached_property
    def key_columns(self) -> dict[str, str]:
        """The columns that stand for the request's key, its payload and its caller.

        The payload is what the client sent: they are made before the view's checks, which may change the data.

        Raises:
            ImproperlyConfigured: a value in the payload cannot be kept.
            Unencodable: it has no strict JSON form.
        """
        sent = uploads.fingerprints(payload(input_of(self.request)))
        return keys.columns(
            self.key or "",
            caller=self.owner_id,
            method=str(self.request.method),
            route=self.request._request.path_info,
            payload=[sent, self.request.META.get("QUERY_STRING", "")],
        )

    @property
    def terms(self) -> Terms:
        """On which terms the view lets jobs in."""
        return Terms(
            max_active=self.option("max_active", conf.MAX_ACTIVE_PER_OPERATION),
            max_active_per_owner=self.option("max_active_per_owner", conf.MAX_ACTIVE_PER_OWNER),
            max_bytes=self.option("max_bytes", conf.MAX_INPUT_BYTES),
            needs_broker=self.option("when_broker_down", conf.WHEN_BROKER_DOWN) == "refuse",
            joins=self.option("when_active") == "join" and self.option("active_key") is not None,
        )
