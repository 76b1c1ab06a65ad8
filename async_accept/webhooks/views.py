"""The endpoints and deliveries of the caller. What is another's does not exist: 404, as for an unknown id."""

import logging
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import translation
from rest_framework import exceptions as drf
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.viewsets import GenericViewSet

from ..http.body import check_depth
from ..http.classes import FromSetting
from ..http.errors import LANGUAGE, ProblemsMixin
from ..http.links import job_id
from ..http.monitor import rfc3339
from ..http.negotiation import WeighedNegotiation, offered
from ..http.pagination import JobPagination
from ..models import database, database_now
from ..querysets import acting
from .guard import host_of
from .models import ROTATION, Delivery, Endpoint
from .notices import ping
from .resending import resend
from .serializers import DeliverySerializer, EndpointSerializer, SinceSerializer
from .states import OPEN, DisabledBy

__all__ = ["EndpointViewSet"]

logger = logging.getLogger(__name__)


class NoSuchWebhook(drf.APIException):
    """There is no such endpoint or delivery for the caller (404)."""

    status_code = 404
    default_code = "webhook-not-found"
    default_detail = "There is no such webhook."


class EndpointDisabled(drf.APIException):
    """Nothing is sent to a disabled endpoint (409): enable it first."""

    status_code = 409
    default_code = "endpoint-disabled"
    default_detail = "The endpoint is disabled."


class EndpointWithoutURL(drf.APIException):
    """A test has nowhere to go (409): the endpoint stands for callbacks, whose URLs come with requests."""

    status_code = 409
    default_code = "endpoint-without-url"
    default_detail = "Callbacks have no URL before a request names one."


class ChangeThrottle(SimpleRateThrottle):
    """Refuses a caller who changes or tests endpoints too often (429): each look-up and test reaches out for others."""

    scope = "async_accept_webhooks"
    rate = "60/min"

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.method in SAFE_METHODS:
            return True
        try:
            allowed: bool = super().allow_request(request, view)
        except Exception as error:  # every cache has exceptions of its own
            logger.warning("The cache is away, so changes are not throttled: %s", type(error).__name__)
            return True
        return allowed

    def get_cache_key(self, request: Request, view: Any) -> str:
        return f"async_accept_webhooks:{request.user.pk or self.get_ident(request)}"


class EndpointViewSet(ProblemsMixin, GenericViewSet[Endpoint]):
    """Endpoints of the caller. Mount it by ``include("async_accept.webhooks.urls")``."""

    is_ours = True
    serializer_class = EndpointSerializer
    authentication_classes: Any = FromSetting(
        "AUTHENTICATION_CLASSES", lambda: api_settings.DEFAULT_AUTHENTICATION_CLASSES
    )
    permission_classes = (IsAuthenticated,)
    throttle_classes = (ChangeThrottle,)
    content_negotiation_class = WeighedNegotiation
    parser_classes = (JSONParser, FormParser, MultiPartParser)
    pagination_class: type[CursorPagination] = JobPagination
    filter_backends = ()
    versioning_class = None

    # --- Endpoints ---------------------------------------------------------------------------------------

    def list(self, request: Request) -> Response:
        """The caller's endpoints, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def create(self, request: Request) -> Response:
        """Register an endpoint: 201 with its secret, which is never shown again."""
        data = self._validated()
        enabled = data.pop("enabled", True)
        endpoint = Endpoint(owner_id=acting(request.user), **data)
        if not enabled:
            endpoint.disabled_at, endpoint.disabled_by = database_now(), DisabledBy.OWNER
        endpoint.save(force_insert=True)
        document = {**self.get_serializer(endpoint).data, "secret": endpoint.secret}
        return Response(document, status=201, headers={"Cache-Control": "no-store"})

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what the body names; a new URL is checked as at first."""
        endpoint = self.get_object()
        data = self._validated(endpoint, partial=True)
        enabled = data.pop("enabled", None)
        with transaction.atomic(using=database()):
            if data:
                Endpoint.objects.filter(pk=endpoint.pk).update(**data)
            if "url" in data and data["url"] != endpoint.url:
                Endpoint.objects.filter(pk=endpoint.pk).update(failures=0, failing_since=None)
                waiting = Delivery.objects.filter(endpoint=endpoint, state__in=OPEN)
                waiting.update(host=host_of(data["url"]))
            if enabled is True:
                # Not if staff have disabled it since the check.
                Endpoint.objects.exclude(disabled_by=DisabledBy.STAFF).filter(pk=endpoint.pk).enable()
            elif enabled is False:
                endpoint.disable(DisabledBy.OWNER)
        return self.retrieve(request, pk)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete an endpoint at once; its deliveries go later, in batches."""
        self.get_object().forget()
        return Response(status=204)

    # --- What can be done with one -----------------------------------------------------------------------

    def rotate(self, request: Request, pk: str) -> Response:
        """Make a new secret and show it once. The old one stays valid for a day: both sign."""
        secret = self.get_object().rotate()
        document = {"secret": secret, "previous_valid_until": rfc3339(database_now() + ROTATION)}
        return Response(document, headers={"Cache-Control": "no-store"})

    def ping(self, request: Request, pk: str) -> Response:
        """Send a test: 202 with its delivery."""
        endpoint = self._enabled()
        if not endpoint.url:
            raise EndpointWithoutURL
        return Response(DeliverySerializer(ping(endpoint)).data, status=202)

    def resend(self, request: Request, pk: str) -> Response:
        """Send all again that failed or was held back, at most 1,000 at a time: 202 with their number."""
        check_depth(request)
        asked = SinceSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        rows = Delivery.objects.filter(endpoint=self._enabled())
        if since := asked.validated_data.get("since"):
            rows = rows.filter(created_at__gte=since)
        return Response({"resent": len(resend(rows))}, status=202)

    # --- Deliveries --------------------------------------------------------------------------------------

    def deliveries(self, request: Request, pk: str) -> Response:
        """The deliveries of an endpoint, newest first."""
        rows: Any = Delivery.objects.filter(endpoint=self.get_object()).defer("body")
        page: Any = self.paginate_queryset(rows)
        return self.get_paginated_response(DeliverySerializer(page, many=True).data)

    def resend_delivery(self, request: Request, pk: str, delivery: str) -> Response:
        """Send one again, with its id: 202; also if it waits already."""
        try:
            found = UUID(hex=delivery.removeprefix("msg_"))
        except ValueError:
            raise NoSuchWebhook from None
        rows = Delivery.objects.filter(endpoint=self._enabled(), pk=found).defer("body")
        resend(rows)
        row = rows.first()
        if row is None:
            raise NoSuchWebhook
        return Response(DeliverySerializer(row).data, status=202)

    # --- What surrounds every one of them ----------------------------------------------------------------

    def get_queryset(self) -> Any:
        owner = acting(self.request.user)
        if owner is None:  # somebody, but no user of the project's
            raise drf.PermissionDenied
        return Endpoint.objects.alive().filter(owner=owner)

    def get_object(self) -> Endpoint:
        """Return the endpoint of the URL.

        Raises:
            NoSuchWebhook: unknown, malformed, deleted, or another's (404).
        """
        pk = job_id(self.kwargs["pk"])
        found: Endpoint | None = None if pk is None else self.get_queryset().filter(pk=pk).first()
        if found is None:
            raise NoSuchWebhook
        return found

    def _enabled(self) -> Endpoint:
        endpoint = self.get_object()
        if endpoint.disabled_at is not None:
            raise EndpointDisabled
        return endpoint

    def _validated(self, endpoint: Endpoint | None = None, *, partial: bool = False) -> dict[str, Any]:
        context = {"owner": acting(self.request.user)}
        if context["owner"] is None:
            raise drf.PermissionDenied
        check_depth(self.request)
        asked = EndpointSerializer(endpoint, data=self.request.data, partial=partial, context=context)
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)

    def get_renderers(self) -> Any:
        return [kind() for kind in offered() if kind.media_type != "text/html"]

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with translation.override(LANGUAGE):  # so that programs can compare what is told
            return super().dispatch(request, *args, **kwargs)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.setdefault("Cache-Control", "private, no-cache")
        return response
