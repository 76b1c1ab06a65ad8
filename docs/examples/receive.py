from contextlib import suppress

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from standardwebhooks import Webhook

SECRETS = ["whsec_…"]  # two of them for a day after you have made a new one


def remember(webhook_id, notice):
    """Store the id in a unique column, together with what is to be done."""


def verified(body, headers):
    """Return the notice; None if no secret has signed it, or it is older than five minutes."""
    for secret in SECRETS:
        with suppress(Exception):  # a malformed header raises ValueError and others, too
            return Webhook(secret).verify(body, headers)
    return None


@csrf_exempt
@require_POST
def hook(request):
    notice = verified(request.body, dict(request.headers))
    if notice is None:
        return HttpResponse(status=401)
    with suppress(IntegrityError), transaction.atomic():  # a notice that comes again is known by its id
        remember(request.headers["Webhook-Id"], notice)
    return HttpResponse(status=204)  # at once: the work comes later
