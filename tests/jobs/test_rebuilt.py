"""What a replayed view finds of its request: what was kept, and aloud what was not."""

import asyncio
import sys
import sysconfig
import types
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import pytest
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.sites.requests import RequestSite
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models.signals import post_save
from django.urls import include, path
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.decorators import action, api_view, authentication_classes, permission_classes
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.request import clone_request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView, exception_handler
from rest_framework.viewsets import ViewSet

from async_accept.decorators import accepts
from async_accept.exceptions import NotKept
from async_accept.jobs.variables import variables
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import follow, run_accepted_jobs

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "acme-5f2c"
tenant: ContextVar[str] = ContextVar("tenant", default="public")
holder: ContextVar[object] = ContextVar("holder", default=None)
api_token: ContextVar[str] = ContextVar("api_token", default="")
#: What was seen of context variables after the commit, and of context managers.
seen: list[str] = []


class Shop(StrEnum):
    ACME = "acme"


@contextmanager
def variable_set(variable, value):
    token = variable.set(value)
    yield
    variable.reset(token)


def middleware(get_response):
    """Put on the request what projects and their packages put there."""

    def call(request):
        name = request.headers.get("X-Tenant", "public")
        request.tenant = name
        request._private = name
        request.nothing = None
        request.site = RequestSite(request)
        tokens = [(tenant, tenant.set(name))]
        if "X-Holder" in request.headers:
            tokens += [(holder, holder.set(request)), (api_token, api_token.set(name))]
        try:
            return get_response(request)
        finally:
            for variable, token in tokens:
                variable.reset(token)

    return call


def put_on(user):
    """Put on *user* what authentication and middleware put there, such as django-otp's."""
    user.org = SECRET
    user.is_verified = lambda: True
    user.get_short_name = lambda: "Al"
    user.backend = "django.contrib.auth.backends.ModelBackend"
    user._answers = {}


class ClaimsAuthentication(TokenAuthentication):
    """Puts claims on REST framework's request, too."""

    def authenticate(self, request):
        request.claims = {"scope": "orders"}
        found = super().authenticate(request)
        if found is not None:
            put_on(found[0])
        return found


class Cached(BasePermission):
    """Looks something up once for a request."""

    def has_permission(self, request, view):
        if not hasattr(request, "membership"):
            request.membership = "member"
        return True


class CachedOnUser(BasePermission):
    def has_permission(self, request, view):
        if not hasattr(request.user, "role"):
            request.user.role = "owner"
        return True


class Ask(AcceptMixin, APIView):
    """Answers with what it is asked for."""

    authentication_classes = (ClaimsAuthentication,)
    permission_classes = (Cached, CachedOnUser)
    parser_classes = (JSONParser, FormParser)

    def post(self, request, name):
        return Response({"told": ASKS[name](request)})


def _context(request):
    return {"tenant": request.tenant, "claims": request.auth.key}


class Keeps(Ask):
    accept_headers = ("X-Trace",)

    def get_accept_context(self, request):
        return _context(request)

    def restore_accept_context(self, request, context):
        request.tenant = request._request.tenant = context["tenant"]
        request.auth = context["claims"]


class Enters(Ask):
    """Restores by a context manager."""

    def get_accept_context(self, request):
        return [request.tenant]

    @contextmanager
    def restore_accept_context(self, request, context):
        seen.append("entered")
        token = tenant.set(f"entered {context[0]}")
        yield
        seen.append("left")
        tenant.reset(token)

    def post(self, request, name):
        transaction.on_commit(lambda: seen.append(f"committed in {tenant.get()}"))
        return Response({"told": tenant.get()})


class Unkept(Ask):
    def get_accept_context(self, request):
        return request


def keep(request):
    return request.tenant


def restore(request, context):
    request.tenant = context


class NeedsTenant(BasePermission):
    def has_permission(self, request, view):
        return request.tenant == SECRET


@api_view(["POST"])
@permission_classes([NeedsTenant])
@accepts(context=(keep, restore), headers=["X-Trace"])
def function(request):
    return Response({"told": [request.tenant, request.headers.get("X-Trace")]})


@accepts(context=(keep, restore))
@api_view(["POST"])
def whole_function(request):
    return Response({"told": request.tenant})


@api_view(["POST"])
@accepts()
def bare_function(request):
    return Response({"told": getattr(request, "tenant", "public")})


@api_view(["POST"])
@authentication_classes([ClaimsAuthentication])
@permission_classes([Cached])
@accepts()
def remembering(request):
    return Response({"told": [request.membership, getattr(request, "claims", "none")]})


class Actions(ViewSet):
    authentication_classes = (TokenAuthentication,)
    permission_classes = (Cached,)

    @action(detail=False, methods=["post"])
    @accepts()
    def act(self, request):
        return Response({"told": request.membership})


def saved_by(user):
    """Return which classes the receivers of the model's signal hear of, when *user* is saved."""
    heard = []

    def hear(sender, **kwargs):
        heard.append(sender.__name__)

    post_save.connect(hear, sender=get_user_model())
    try:
        user.save()
    finally:
        post_save.disconnect(hear, sender=get_user_model())
    return heard


def stubborn_handler(exc, context):
    """Turn every exception into an answer, as some projects do."""
    return exception_handler(exc, context) or Response({"oops": True}, status=500)


ASKS = {
    "tenant": lambda request: request.tenant,
    "tenant or public": lambda request: getattr(request, "tenant", "public"),
    "django's tenant": lambda request: getattr(request._request, "tenant", "public"),
    "has tenant": lambda request: hasattr(request, "tenant"),
    "private": lambda request: getattr(request, "_private", "public"),
    "nothing": lambda request: request.nothing,
    "claims": lambda request: getattr(request, "claims", {}),
    "auth": lambda request: getattr(request, "auth", None) is None,
    "django's auth": lambda request: request._request.auth,
    "session": lambda request: request.session.get("basket"),
    "session's key": lambda request: request.session["basket"],
    "session changed": lambda request: setattr(request.session, "modified", True),
    "in session": lambda request: "basket" in request.session,
    "any session": lambda request: bool(request.session),
    "cookies": lambda request: request.COOKIES.get("theme", "light"),
    "body": lambda request: request.body.decode(),
    "read": lambda request: request._request.read().decode(),
    "stream": lambda request: request.stream.read().decode(),
    "lines": lambda request: [line.decode() for line in request._request],
    "django's POST": lambda request: dict(request._request.POST),
    "message": lambda request: messages.success(request, "Done."),
    "quiet message": lambda request: messages.success(request, "Done.", fail_silently=True),
    "the user's org": lambda request: request.user.org,
    "the user's org or public": lambda request: getattr(request.user, "org", "public"),
    "verified": lambda request: request.user.is_verified(),
    "the user's name": lambda request: request.user.get_short_name(),
    "holder": lambda request: getattr(holder.get(), "tenant", "public"),
    "the user later": lambda request: str(asyncio.run(request.auser())),
    "holder's text": lambda request: f"{holder.get()}",
    "api token": lambda request: api_token.get() or "none",
}
MISSING = {
    "tenant": "request.tenant",
    "tenant or public": "request.tenant",
    "django's tenant": "request.tenant",
    "has tenant": "request.tenant",
    "private": "request._private",
    "nothing": "request.nothing",
    "claims": "request.claims",
    "auth": "request.auth",
    "django's auth": "request.auth",
    "session": "request.session",
    "session's key": "request.session",
    "session changed": "request.session",
    "in session": "request.session",
    "any session": "request.session",
    "cookies": "request.COOKIES",
    "body": "request.body",
    "read": "request.body",
    "stream": "request.body",
    "lines": "request.body",
    "message": "messages",
    "quiet message": "messages",
    "the user's org": "request.user.org",
    "the user's org or public": "request.user.org",
    "verified": "request.user.is_verified",
    "the user's name": "request.user.get_short_name",
    "holder": "tests.jobs.test_rebuilt.holder",
    "holder's text": "tests.jobs.test_rebuilt.holder",
    "api token": "tests.jobs.test_rebuilt.api_token",
}
WORKS = {
    "a name that nobody has set": (
        lambda request: [hasattr(request, "basket"), getattr(request, "basket", 1)]
    ),
    "what the permission has set": lambda request: request.membership,
    "whether there is a session": lambda request: [
        hasattr(request, "session"),
        hasattr(request, "_messages"),
    ],
    "no messages": lambda request: [str(each) for each in messages.get_messages(request)],
    "the user": lambda request: [
        str(request.user),
        str(request._request.user),
        request.user.is_authenticated,
    ],
    "what nobody has put on the user": lambda request: getattr(request.user, "basket", 1),
    "what the permission has put on the user": lambda request: request.user.role,
    "what is set on the user": lambda request: [setattr(request.user, "org", 1), request.user.org],
    "the user's caches": lambda request: [
        getattr(request.user, "_answers", {}),
        request.user.has_perm("a.b"),
    ],
    "the user's class": lambda request: [
        isinstance(request.user, get_user_model()),
        request.user.__class__ is get_user_model(),
        request.user == get_user_model().objects.get(),
        str(copy(request.user)),
    ],
    "what hears that the user is saved": lambda request: saved_by(request.user),
    "the language": lambda request: request.LANGUAGE_CODE,
    "the site": lambda request: request.site.domain,
    "another method": lambda request: clone_request(request, "PUT").method,
    "another method's user": lambda request: str(clone_request(request, "PUT").user),
    "authenticators": lambda request: [type(each).__name__ for each in request.authenticators],
    "data": lambda request: [request.data, request.POST, request.content_type],
    "context variable": lambda request: tenant.get(),
    "a view of the request": lambda request: repr(request),
}
ASKS |= WORKS

urlpatterns = [
    path("ask/<str:name>/", Ask.as_view()),
    path("keeps/<str:name>/", Keeps.as_view()),
    path("enters/<str:name>/", Enters.as_view()),
    path("unkept/<str:name>/", Unkept.as_view()),
    path("function/", function),
    path("whole/", whole_function),
    path("bare/", bare_function),
    path("remembering/", remembering),
    path("actions/act/", Actions.as_view({"post": "act"})),
    path("api/jobs/", include("async_accept.urls")),
]


@pytest.fixture(autouse=True)
def _project(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.middleware"]
    seen.clear()


@pytest.fixture
def client(alice):
    client = APIClient()
    client.credentials(
        HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=alice)}",
        HTTP_X_TENANT=SECRET,
        HTTP_X_TRACE="t-1",
    )
    client.cookies["theme"] = "dark"
    return client


def ask(client, url, data=None, **given):
    accepted = client.post(url, {"a": 1} if data is None else data, **given)
    assert accepted.status_code == 202, accepted.content
    run_accepted_jobs(raises=False)
    return client.get(accepted["Location"])


# --- Missed aloud --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_kept_is_missed_aloud(name, client, caplog):
    """In the log and in the problem, with the mend, and without a value."""
    answer = ask(client, f"/ask/{name}/", headers={"X-Holder": "1"})

    problem = Job.objects.get().problem
    assert (answer.status_code, problem["code"]) == (409, "failed")
    for text in (problem["detail"], caplog.text):
        assert f"The view reads {MISSING[name]}, which is not kept" in text
        assert "get_accept_context(request)" in text
        assert "restore_accept_context(request, context)" in text
        assert SECRET not in text
    assert problem["reference"] in caplog.text


@pytest.mark.parametrize("name", WORKS)
def test_what_django_and_rest_framework_need_is_there(name, client, monkeypatch):
    monkeypatch.setattr(Ask, "accept_mode", "never")
    expected = client.post(f"/ask/{name}/", {"a": 1}).json()
    monkeypatch.setattr(Ask, "accept_mode", "always")
    answer = ask(client, f"/ask/{name}/")
    assert answer.status_code == 200, answer.content
    assert answer.json() == expected


def test_the_user_is_there_for_coroutines(client):
    assert ask(client, "/ask/the user later/").json() == {"told": "alice"}


def test_what_middleware_puts_on_a_lazy_user_is_missed_aloud(alice, monkeypatch):
    def session(get_response):
        def call(request):
            put_on(request.user)
            return get_response(request)

        return call

    monkeypatch.setattr(sys.modules[__name__], "middleware", session)
    monkeypatch.setattr(Ask, "authentication_classes", (SessionAuthentication,))
    client = APIClient()
    client.force_login(alice)
    answer = ask(client, "/ask/the user's org or public/")
    assert (answer.status_code, "request.user.org" in answer.json()["detail"]) == (409, True)


def test_what_is_put_on_nobody_is_missed_aloud(monkeypatch):
    def nobody(self, request):
        user = AnonymousUser()
        put_on(user)
        return user, None

    monkeypatch.setattr(ClaimsAuthentication, "authenticate", nobody)
    answer = ask(APIClient(), "/ask/the user's org or public/")
    assert (answer.status_code, "request.user.org" in answer.json()["detail"]) == (409, True)
    assert ask(APIClient(), "/ask/the user/").json()["told"][2] is False


def test_what_was_never_there_is_not_missed(alice):
    """Without a cookie, credentials or a body, there is nothing to be kept."""
    client = APIClient()
    for name, told in {"cookies": "light", "auth": True, "django's auth": None, "body": ""}.items():
        answer = follow(client, client.post(f"/ask/{name}/"))
        assert (answer.status_code, answer.json()) == (200, {"told": told})


def test_a_handler_of_the_projects_does_not_hide_it(client, settings, caplog):
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "EXCEPTION_HANDLER": f"{__name__}.stubborn_handler",
    }
    assert "request.tenant" in ask(client, "/ask/tenant/").json()["detail"]
    assert "request.tenant" in caplog.text


def test_it_is_no_attribute_error():
    assert not issubclass(NotKept, AttributeError)


def test_a_function_view_misses_it_too(client):
    assert "request.tenant" in ask(client, "/bare/").json()["detail"]


@pytest.mark.parametrize(("url", "told"), [("/remembering/", "claims"), ("/actions/act/", None)])
def test_what_a_permission_has_set_is_set_again_without_a_mixin(url, told, client):
    answer = ask(client, url)
    if told is None:
        assert answer.json() == {"told": "member"}
    else:  # the authentication's is missed all the same
        assert (answer.status_code, f"request.{told}" in answer.json()["detail"]) == (409, True)


# --- Kept ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tenant", "tenant or public", "django's tenant"])
def test_a_view_puts_back_what_it_has_kept(name, client):
    assert ask(client, f"/keeps/{name}/").json() == {"told": SECRET}


def test_a_rerun_has_it_too(client):
    ask(client, "/keeps/tenant/")
    again = client.post(f"/api/jobs/{Job.objects.get().pk}/rerun/")
    assert follow(client, again).json() == {"told": SECRET}


@pytest.mark.parametrize("setting", [[], ["x-tenant"]])
def test_headers_are_kept_by_name(setting, client, settings):
    settings.ASYNC_ACCEPT = {"KEEP_HEADERS": setting}
    client.post("/keeps/tenant/", {})
    kept = Job.objects.get().request["meta"]
    assert kept["HTTP_X_TRACE"] == "t-1"
    assert ("HTTP_X_TENANT" in kept) == bool(setting)
    assert "HTTP_AUTHORIZATION" not in kept
    assert "HTTP_COOKIE" not in kept


def test_a_cookie_that_is_kept_is_there(client, settings):
    settings.ASYNC_ACCEPT = {"KEEP_HEADERS": ["Cookie"]}
    assert ask(client, "/ask/cookies/").json() == {"told": "dark"}


def test_function_views_keep_by_functions(client):
    assert ask(client, "/function/").json() == {"told": [SECRET, "t-1"]}
    assert ask(client, "/whole/").json() == {"told": SECRET}


def test_a_context_manager_stays_open_until_the_commit(client):
    assert ask(client, "/enters/x/").json() == {"told": f"entered {SECRET}"}
    assert seen == ["entered", f"committed in entered {SECRET}", "left"]
    assert tenant.get() == "public"


def test_what_has_no_json_form_is_refused_before_anything_is_stored(client):
    with pytest.raises(ImproperlyConfigured, match=r"Unkept\.get_accept_context\(\)"):
        client.post("/unkept/x/", {})
    assert not Job.objects.exists()


def test_variables_end_with_their_job(client):
    client.post("/ask/context variable/", {})
    client._credentials["HTTP_X_TENANT"] = "public"
    client.post("/ask/context variable/", {})
    run_accepted_jobs()
    told = [
        client.get(f"/api/jobs/{job.pk}/result/").json()["told"] for job in Job.objects.order_by("created_at")
    ]
    assert told == [SECRET, "public"]
    assert tenant.get() == "public"


def test_a_default_is_not_stored(client):
    client._credentials["HTTP_X_TENANT"] = "public"
    client.post("/ask/context variable/", {})
    assert Job.objects.get().request["variables"] == {"kept": {}, "missing": []}


@pytest.mark.parametrize("value", ["acme", 7, UUID(int=7), Shop.ACME, None, Decimal("1.10")])
def test_a_variable_comes_back_as_it_was(value, client, monkeypatch):
    monkeypatch.setitem(ASKS, "holder", lambda request: repr(holder.get()))
    with variable_set(holder, value):
        client.post("/ask/holder/", {})
    run_accepted_jobs()
    assert client.get(f"/api/jobs/{Job.objects.get().pk}/result/").json() == {"told": repr(value)}


@pytest.mark.parametrize("value", [float("nan"), "a\0", ["acme"], {"a": 1}, object()])
def test_a_variable_that_is_no_plain_value_is_missed_aloud(value, client, monkeypatch):
    monkeypatch.setitem(ASKS, "holder", lambda request: bool(holder.get()))
    with variable_set(holder, value):
        assert client.post("/ask/holder/", {}).status_code == 202
    run_accepted_jobs(raises=False)
    assert "test_rebuilt.holder, which is not kept" in Job.objects.get().problem["detail"]


@pytest.mark.parametrize(("package", "is_kept"), [("company_shop", True), ("some_library", False)])
def test_a_project_may_be_installed_itself(package, is_kept, settings, monkeypatch):
    settings.WSGI_APPLICATION = "company_shop.wsgi.application"
    module = types.ModuleType(f"{package}.tenants")
    module.__file__ = f"{sysconfig.get_path('purelib')}/{package}/tenants.py"
    module.current = ContextVar("current")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with variable_set(module.current, "acme"):
        kept = variables()["kept"]
    assert kept.get(f"{package}.tenants:current") == ("acme" if is_kept else None)


def test_secrets_are_not_stored(client):
    client.post("/ask/context variable/", {}, headers={"X-Holder": "1"})
    stored = Job.objects.get().request
    assert stored["variables"]["kept"] == {"tests.jobs.test_rebuilt:tenant": SECRET}
    assert sorted(stored["variables"]["missing"]) == [
        "tests.jobs.test_rebuilt:api_token",
        "tests.jobs.test_rebuilt:holder",
    ]


def test_a_job_of_an_earlier_release_is_replayed(client):
    """It knows less of its request."""
    client.post("/ask/the user/", {})
    job = Job.objects.get()
    for name in ("missing", "found", "authenticator", "context", "variables"):
        del job.request[name]
    job.save()
    run_accepted_jobs()
    assert client.get(f"/api/jobs/{job.pk}/result/").json()["told"][0] == "alice"
