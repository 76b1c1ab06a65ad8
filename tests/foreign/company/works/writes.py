"""What a view may write, in which transactions, and how it may end."""

from contextlib import suppress

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from tests.foreign.ledger.models import Entry

from .. import tasks
from ..errors import Conflict
from ..models import Audit
from .registry import Works

WORKS = Works()
#: These cannot be in a transaction of the request, and those cannot but be in one.
LOOSE = {"survive_duplicate", "survive_bulk_of_duplicates", "insist_on_durable", "manage_by_hand"}
BOUND = {"roll_back_by_hand", "send_mail"}


def _leave(text: str) -> None:
    """Leave a line in each database."""
    Audit.objects.create(text=text)
    Entry.objects.create(reference="audit", text=text, cents=0)


@WORKS.add
def write_and_answer(request: Request) -> Response:
    _leave("answered")
    return Response(status=201)


@WORKS.add
def write_and_return_error(request: Request) -> Response:
    _leave("returned an error")
    return Response({"no": "stock"}, status=422)


@WORKS.add
def write_and_raise(request: Request) -> Response:
    _leave("raised")
    raise Conflict


@WORKS.add
def write_and_raise_invalid(request: Request) -> Response:
    _leave("raised")
    raise exceptions.ValidationError({"stock": ["Too low."]})


@WORKS.add
def write_and_deny(request: Request) -> Response:
    _leave("denied")
    raise PermissionDenied


@WORKS.add
def write_in_savepoints(request: Request) -> Response:
    for text in ("kept", "dropped", "kept too"):
        try:
            with transaction.atomic():
                Audit.objects.create(text=text)
                if text == "dropped":
                    raise Conflict
        except Conflict:
            continue
    return Response({"rows": Audit.objects.count()}, status=409)


@WORKS.add
def write_both_and_raise(request: Request) -> Response:
    """One transaction in each database; the inner one is over when the outer one fails."""
    with transaction.atomic(using="ledger"):
        _leave("raised in two")
    raise Conflict


@WORKS.add
def roll_back_by_hand(request: Request) -> Response:
    Audit.objects.create(text="by hand")
    transaction.set_rollback(True)
    return Response(status=204)


@WORKS.add
def write_after_commit(request: Request) -> Response:
    transaction.on_commit(lambda: _leave("after the commit"))
    return Response({"rows": Audit.objects.count()}, status=201)


@WORKS.add
def write_after_no_commit(request: Request) -> Response:
    transaction.on_commit(lambda: _leave("after the commit"))
    raise Conflict


@WORKS.add
def write_after_ledgers_commit(request: Request) -> Response:
    transaction.on_commit(lambda: Audit.objects.create(text="after the ledger's commit"), using="ledger")
    raise Conflict


@WORKS.add
def survive_duplicate(request: Request) -> Response:
    Audit.objects.create(text="twice")
    with suppress(IntegrityError):
        Audit.objects.create(text="twice")
    return Response({"rows": Audit.objects.count()})


@WORKS.add
def survive_bulk_of_duplicates(request: Request) -> Response:
    """``bulk_create()`` has a transaction without a savepoint."""
    Audit.objects.create(text="twice")
    with suppress(IntegrityError):
        Audit.objects.bulk_create([Audit(text="once"), Audit(text="twice")])
    Audit.objects.create(text="once more")
    return Response({"rows": Audit.objects.count()}, status=409)


@WORKS.add
def manage_by_hand(request: Request) -> Response:
    transaction.set_autocommit(False)
    try:
        Audit.objects.create(text="kept")
        transaction.commit()
        Audit.objects.create(text="dropped")
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    return Response({"rows": Audit.objects.count()})


@WORKS.add
def insist_on_durable(request: Request) -> Response:
    with transaction.atomic(durable=True):
        Audit.objects.create(text="durable")
    return Response({"rows": Audit.objects.count()})


@WORKS.add
def send_mail(request: Request) -> Response:
    """Leave something to another task of the company, which is no job."""
    tasks.send_mail.delay()
    return Response(status=204)
