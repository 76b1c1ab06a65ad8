"""Replay: the worker runs the captured view for the same user, with the permissions of now."""

import json
from io import BytesIO
from itertools import repeat

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.db import connection, transaction
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import _get_new_csrf_string
from django.test import override_settings
from django.test.utils import override_script_prefix
from django.urls import get_script_prefix, include, path
from django.utils import timezone, translation
from django.utils.datastructures import MultiValueDict
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import (
    BaseParser,
    DataAndFiles,
    FileUploadParser,
    FormParser,
    JSONParser,
    MultiPartParser,
)
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from async_accept.jobs.replay import job_of
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import follow, run_accepted_jobs
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

counts = {"authenticated": 0, "throttled": 0}


class CountedAuthentication(BaseAuthentication):
    def authenticate(self, request):
        counts["authenticated"] += 1
        return None


class CountedThrottle(BaseThrottle):
    def allow_request(self, request, view):
        counts["throttled"] += 1
        return True


class MayAddNotes(BasePermission):
    def has_permission(self, request, view):
        return request.user.has_perm("testapp.add_note")


class NoReplays(BasePermission):
    message = "Only in person."

    def has_permission(self, request, view):
        return job_of(request) is None


class Mirror(AcceptMixin, APIView):
    """Answers with what it sees of its request."""

    authentication_classes = (CountedAuthentication,)
    throttle_classes = (CountedThrottle,)
    permission_classes = ()

    def post(self, request, word="", **kwargs):
        return Response(
            {
                "user": str(request.user),
                "data": request.data,
                "query": request.query_params.dict(),
                "url": request.build_absolute_uri(),
                "word": word,
                "method": request.method,
                "content_type": request.content_type,
                "meta": sorted(name for name in request.META if name.startswith("HTTP_")),
                "language": translation.get_language(),
                "time_zone": timezone.get_current_timezone_name(),
                "route": request.resolver_match.route,
            }
        )


class Guarded(Mirror):
    permission_classes = (MayAddNotes,)


class Credentials(AcceptMixin, APIView):
    """Answers with the user of its request, and how they were known; a PUT with the credentials themselves."""

    authentication_classes = (TokenAuthentication, SessionAuthentication)

    def post(self, request):
        return Response({"by": type(request.successful_authenticator).__name__, "user": str(request.user)})

    def put(self, request):
        return Response([request.auth, request._request.auth])


def described(value):
    """Return *value* as JSON that shows the kinds of containers, and the contents of files."""
    if isinstance(value, UploadedFile):
        value.seek(0)
        told = [value.name, value.content_type, value.content_type_extra]
        return [*told, value.size, value.read().decode()]
    if isinstance(value, MultiValueDict):
        return {"lists": {key: described(value.getlist(key)) for key in value}}
    if isinstance(value, dict):
        return {key: described(item) for key, item in value.items()}
    return [described(item) for item in value] if isinstance(value, list) else value


class NestedParser(MultiPartParser):
    """Makes ``order.file`` a member of ``order``, and returns the files apart as well."""

    def parse(self, stream, media_type=None, parser_context=None):
        form = super().parse(stream, media_type, parser_context)
        nested = {"note": None}
        for key, value in [*form.data.items(), *form.files.items()]:
            outer, _, inner = key.partition(".")
            nested.setdefault(outer, {})[inner] = value
        return DataAndFiles(nested, form.files)


class TextParser(BaseParser):
    media_type = "text/plain"

    def parse(self, stream, media_type=None, parser_context=None):
        return stream.read().decode()


class Parsed(AcceptMixin, APIView):
    """Answers with what its parsers made of the request."""

    accept_mode = "prefer"

    def post(self, request, **kwargs):
        return Response(
            {
                "data": described(request.data),
                "files": described(request.FILES),
                "form": described(request.POST),
                "django": described(request._request.FILES),
                "same": request.FILES.get("order.file") is request.data["order"]["file"]
                if "order.file" in request.FILES
                else None,
            }
        )


class DjangosFirst(Parsed):
    """Reads Django's request before REST framework's own."""

    def post(self, request, **kwargs):
        django = request._request
        return Response([described(each) for each in (django.POST, django.FILES, request.data, request.POST)])


class Semicolons(BaseRenderer):
    media_type, format = "text/csv", "csv"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return ";".join(data).encode()


def stream():
    yield from (b"a;", "b;ä\n".encode())


class Spoken(AcceptMixin, APIView):
    """Answers with responses that are no JSON, or not REST framework's."""

    accept_mode = "prefer"
    renderer_classes = (JSONRenderer, Semicolons)
    answers = {
        "text": lambda: HttpResponse("plain", status=201, content_type="text/plain", headers={"X-Kind": "a"}),
        "latin": lambda: HttpResponse("ä".encode("latin-1"), content_type="text/plain; charset=iso-8859-1"),
        "nul": lambda: HttpResponse(b"a\0b", content_type="application/x-nul"),
        "bytes": lambda: HttpResponse(bytes(range(256)), content_type="image/png"),
        "file": lambda: FileResponse(BytesIO(b"\x89PNG"), as_attachment=True, filename="a.png"),
        "stream": lambda: StreamingHttpResponse(stream(), content_type="text/csv; charset=utf-8"),
        "json": lambda: JsonResponse({"a": [1]}),
        "html": lambda: HttpResponse("<p>hello"),
        "odd": lambda: HttpResponse("{", content_type="application/json"),
        "redirect": lambda: HttpResponseRedirect("/elsewhere/"),
        "rendered": lambda: Response(["a", "b"]),
        "reason": lambda: HttpResponse("plain", status=201, reason="Made By Hand"),
        "JSON with a reason": lambda: JsonResponse([1], status=299, reason="Fine By Me", safe=False),
        "refused with a reason": lambda: JsonResponse([1], status=422, reason="No By Me", safe=False),
        "none": lambda: Response(None, status=201),
        "empty": lambda: Response(status=204),
    }

    def post(self, request):
        return self.answers[request.data["kind"]]()


class Endless(AcceptMixin, APIView):
    """Streams without end, and refuses by Django's own responses."""

    def post(self, request):
        return StreamingHttpResponse(repeat(b"x" * 100_000))

    def put(self, request):
        return JsonResponse({"detail": "Log in first."}, status=401, headers={"WWW-Authenticate": "Basic"})

    def patch(self, request):
        return HttpResponse("<h1>Traceback</h1>", status=422)


class Halfway(AcceptMixin, APIView):
    """Writes a row, and then refuses."""

    accept_atomic = False

    def post(self, request):
        Note.objects.create(slug="half", title="way")
        raise ValidationError("No.")


class ByAddress(AcceptMixin, APIView):
    """Reads what REST framework's example of a permission reads."""

    def post(self, request):
        return Response(
            [request.META[name] for name in ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTP_USER_AGENT")]
        )


class Locked(Credentials):
    """Permits a request, but no replay."""

    permission_classes = (NoReplays,)


urlpatterns = [
    path("mirror/<str:word>/", Mirror.as_view()),
    path("credentials/", Credentials.as_view()),
    path("locked/", Locked.as_view()),
    path("halfway/", Halfway.as_view()),
    path("halfway/non-atomic/", transaction.non_atomic_requests(Halfway.as_view())),
    path("by-address/", ByAddress.as_view()),
    path("parsed/", Parsed.as_view(parser_classes=(JSONParser, MultiPartParser, FormParser, TextParser))),
    path("parsed/django/", DjangosFirst.as_view(parser_classes=(JSONParser, MultiPartParser, FormParser))),
    path("parsed/nested/", Parsed.as_view(parser_classes=(NestedParser,))),
    path("parsed/raw/<str:filename>", Parsed.as_view(parser_classes=(FileUploadParser,))),
    path("guarded/", Guarded.as_view()),
    path("spoken/", Spoken.as_view()),
    path("endless/", Endless.as_view()),
    path("api/jobs/", include("async_accept.urls")),
]


@pytest.fixture(autouse=True)
def urls():
    counts.update(authenticated=0, throttled=0)
    with override_settings(ROOT_URLCONF=__name__):
        yield


def mirrored(alices, url="/mirror/x/", data=None, **extra):
    accepted = alices.post(url, data if data is not None else {"a": 1}, **extra)
    assert accepted.status_code == 202, accepted.content
    return follow(alices, accepted).json()


# --- What the view sees ------------------------------------------------------------------------------------


def test_the_request_is_the_same(alices):
    seen = mirrored(alices, "/mirror/hello/?q=1&r=%C3%A4", {"a": [1, None]})
    assert (seen["method"], seen["word"], seen["user"]) == ("POST", "hello", "alice")
    assert (seen["data"], seen["query"]) == ({"a": [1, None]}, {"q": "1", "r": "ä"})
    assert seen["route"] == "mirror/<str:word>/"


def test_a_path_with_letters_beyond_ascii_is_kept(alices):
    seen = mirrored(alices, "/mirror/gr%C3%BC%C3%9Fe/")
    assert seen["word"] == "grüße"
    assert seen["url"] == "http://testserver/mirror/gr%C3%BC%C3%9Fe/"


def test_urls_have_the_clients_host(alices):
    with override_settings(ALLOWED_HOSTS=["shop.example", "testserver"]):
        seen = mirrored(alices, secure=True, headers={"host": "shop.example"})
    assert seen["url"] == "https://shop.example/mirror/x/"


def test_urls_have_the_clients_host_behind_a_trusted_proxy(alices):
    with override_settings(
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
        USE_X_FORWARDED_HOST=True,
        ALLOWED_HOSTS=["shop.example", "inside", "testserver"],
    ):
        proxied = {"host": "inside", "x-forwarded-host": "shop.example", "x-forwarded-proto": "https"}
        assert mirrored(alices, headers=proxied)["url"] == "https://shop.example/mirror/x/"


def test_the_language_and_the_time_zone_are_those_of_the_request(alices):
    with timezone.override("Asia/Tokyo"):
        accepted = alices.post("/mirror/x/", {}, headers={"accept-language": "de"})
    with translation.override("fr"), timezone.override("UTC"):
        run_accepted_jobs()
        assert (translation.get_language(), timezone.get_current_timezone_name()) == ("fr", "UTC")
    seen = alices.get(accepted["Location"]).json()
    assert (seen["language"], seen["time_zone"]) == ("de", "Asia/Tokyo")


def test_the_address_is_that_of_the_client(alices):
    sent = {"x-forwarded-for": "203.0.113.7", "user-agent": "shop-app/1"}
    seen = follow(alices, alices.post("/by-address/", {}, REMOTE_ADDR="192.0.2.1", headers=sent)).json()
    assert seen == ["192.0.2.1", "203.0.113.7", "shop-app/1"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("setting", "url", "kept"),
    [(True, "/halfway/", 0), (True, "/halfway/non-atomic/", 1), (False, "/halfway/", 1)],
)
def test_a_replay_is_as_atomic_as_its_request(alices, monkeypatch, setting, url, kept):
    """``ATOMIC_REQUESTS`` holds even if ``accept_atomic`` is off."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", setting)
    assert follow(alices, alices.post(url, {})).status_code == 400
    assert Note.objects.count() == kept


def test_cookies_and_credentials_are_not_stored(alices):
    alices.cookies["sessionid"] = "hunter2"
    seen = mirrored(alices, headers={"authorization": "Token hunter2", "x-api-key": "hunter2"})
    assert not {"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_X_API_KEY"} & set(seen["meta"])
    assert "hunter2" not in str(Job.objects.values().get())


@pytest.mark.parametrize("kind", Spoken.answers)
def test_every_kind_of_response_is_replayed(alices, kind):
    """Contract 13: status, body, content type and the headers that matter are those of a synchronous call."""

    def ask(**headers):
        accept = "text/csv" if kind == "rendered" else "*/*"
        return alices.post("/spoken/", {"kind": kind}, headers={"accept": accept, **headers})

    def told(answer):
        body = answer.getvalue() if answer.streaming else answer.content
        kept = {name: answer.get(name) for name in ("Content-Disposition", "Location", "X-Kind")}
        return (
            answer.status_code,
            answer.reason_phrase,
            json.loads(body) if kind == "json" else body,
            kept,
            body and answer["Content-Type"],
        )

    now = told(ask())
    run = alices.get(ask(prefer="respond-async")["Location"])
    assert run.status_code == 202
    run_accepted_jobs()
    later = alices.get(run["Location"])
    assert told(later) == now
    assert later["Operation-Location"].startswith("http://testserver/api/jobs/")


def test_a_stream_without_end_is_refused(alices):
    """Contract 13: no more than ``MAX_RESULT_FILE_BYTES`` is read."""
    with override_settings(ASYNC_ACCEPT={"MAX_RESULT_FILE_BYTES": 3_000_000}):
        answer = follow(alices, alices.post("/endless/"))
    assert (answer.status_code, answer.json()["code"]) == (409, "result-too-large")


def test_an_error_as_a_django_response_becomes_a_problem(alices):
    """Contract 10: without ``WWW-Authenticate``, or clients would log in again."""
    answer = follow(alices, alices.put("/endless/"))
    assert "WWW-Authenticate" not in answer
    problem = answer.json()
    assert (answer.status_code, problem["original_status"]) == (409, 401)
    assert (problem["detail"], problem["code"]) == ("Log in first.", "rejected")


def test_a_page_that_the_view_refuses_with_is_no_part_of_the_problem(alices):
    """Contract 13, 15: the result is the page as it is; the status monitor has none of it."""
    accepted = alices.patch("/endless/")
    page = follow(alices, accepted)
    assert (page.status_code, "Traceback" in page.content.decode()) == (422, True)
    assert page["Content-Type"].startswith("text/html")
    assert "Traceback" not in alices.get(accepted["Operation-Location"]).content.decode()


def file(name, text="text", kind="text/csv"):
    return SimpleUploadedFile(name, text.encode(), kind)


def requests():
    """Return by kind a URL and what is sent there; each call makes new files."""
    form = {"data": "a=1&a=2&b=%C3%A4", "content_type": "application/x-www-form-urlencoded"}
    several = {"a": ["1", "2"], "f": [file("x.csv"), file("y.csv", "more", "text/csv; header=absent")]}
    nested = {"order.number": "7", "order.file": file("x.csv")}
    return {
        "json": ("/parsed/", {"data": {"a": [1, {"b": None}]}, "format": "json"}),
        "a list": ("/parsed/", {"data": [1, 2], "format": "json"}),
        "text": ("/parsed/", {"data": "a=b", "content_type": "text/plain"}),
        "nothing": ("/parsed/", {}),
        "a form": ("/parsed/", form),
        "fields": ("/parsed/", {"data": {"a": ["1", "2"], "b": ""}, "format": "multipart"}),
        "fields and files": ("/parsed/", {"data": several, "format": "multipart"}),
        "nested": ("/parsed/nested/", {"data": nested, "format": "multipart"}),
        "a form, django's first": ("/parsed/django/", form),
        "files, django's first": ("/parsed/django/", {"data": several, "format": "multipart"}),
        "JSON, django's first": ("/parsed/django/", {"data": {"a": 1}, "format": "json"}),
        "raw": ("/parsed/raw/x.csv", {"data": b"1;2", "content_type": "text/csv"}),
    }


@pytest.mark.parametrize("kind", requests())
def test_the_view_gets_what_its_parser_returned(alices, kind, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    url, options = requests()[kind]
    now = alices.post(url, **options)
    assert now.status_code == 200, now.content
    url, options = requests()[kind]
    accepted = alices.post(url, **options, headers={"prefer": "respond-async"})
    assert follow(alices, accepted).json() == now.json()


def test_a_file_in_two_places_is_stored_once(alices, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    url, options = requests()["nested"]
    alices.post(url, **options, headers={"prefer": "respond-async"})
    assert len(Job.objects.get().uploads) == 1


# --- Who the user is -------------------------------------------------------------------------------------------


def test_a_replay_is_not_authenticated_and_not_throttled_again():
    accepted = APIClient().post("/mirror/x/", {})
    assert counts == {"authenticated": 1, "throttled": 1}
    run_accepted_jobs()
    assert counts == {"authenticated": 1, "throttled": 1}
    assert APIClient().get(accepted["Location"]).json()["user"] == "AnonymousUser"


@pytest.fixture(params=["token", "session"])
def own_client(request, alice):
    """A client with real credentials: in production nothing forces them."""
    alices = APIClient(enforce_csrf_checks=True)
    if request.param == "token":
        alices.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=alice)}")
    else:
        alices.force_login(alice)
        token = alices.cookies["csrftoken"] = _get_new_csrf_string()
        alices.credentials(HTTP_X_CSRFTOKEN=token)
    return alices


def test_a_replay_has_its_owner_and_no_credentials(own_client):
    answer = follow(own_client, own_client.post("/credentials/", {}))
    assert answer.status_code == 200, answer.content
    by_token = "HTTP_AUTHORIZATION" in own_client._credentials
    by = "TokenAuthentication" if by_token else "SessionAuthentication"
    assert answer.json() == {"by": by, "user": "alice"}
    accepted = own_client.put("/credentials/", {})
    run_accepted_jobs(raises=False)
    answer = own_client.get(accepted["Location"])
    if by_token:
        assert (answer.status_code, "request.auth" in answer.json()["detail"]) == (409, True)
    else:
        assert (answer.status_code, answer.json()) == (200, [None, None])  # a session has none


def test_a_permission_that_refuses_a_replay_says_why(own_client):
    answer = follow(own_client, own_client.post("/locked/", {}))
    assert (answer.status_code, answer.json()["detail"]) == (403, "Only in person.")


def test_it_tells_an_anonymous_caller_why_too():
    answer = follow(APIClient(), APIClient().post("/locked/", {}))
    assert (answer.status_code, answer.json()["detail"]) == (403, "Only in person.")


def test_an_anonymous_user_may_be_none(settings):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "UNAUTHENTICATED_USER": None}
    alices = APIClient()
    assert follow(alices, alices.post("/credentials/", {})).json()["user"] == "None"


class TokenUser:
    """A caller made up from a token; its key may be that of a user here by chance."""

    is_authenticated = is_active = True

    def __init__(self, pk):
        self.pk = pk


def test_a_caller_without_an_account_is_refused(alice):
    """As an anonymous caller's job it would be everybody's, and nothing proves that the caller is alice."""
    alices = APIClient()
    for caller in (TokenUser(alice.pk), type(alice)(username="unsaved")):
        alices.force_authenticate(caller)
        with pytest.raises(ImproperlyConfigured, match=r"no stored auth\.User"):
            alices.post("/mirror/x/", {})
        assert alices.post("/parsed/", {}).status_code == 200  # without a job it works
    assert not Job.objects.exists()


def allow(user):
    user.user_permissions.add(Permission.objects.get(codename="add_note"))


def test_permissions_are_checked_again(alices, alice, django_user_model):
    allow(alice)
    alices.force_authenticate(django_user_model.objects.get())  # without cached permissions
    accepted = alices.post("/guarded/", {})
    alice.user_permissions.clear()
    assert follow(alices, accepted).status_code == 403


def test_with_the_permission_the_view_runs(alices, alice, django_user_model):
    allow(alice)
    alices.force_authenticate(django_user_model.objects.get())
    assert follow(alices, alices.post("/guarded/", {})).status_code == 200


def ended_as():
    (job,) = run_accepted_jobs()
    return job.state, job.problem["status"], job.problem["code"]


def test_an_inactive_owner_may_not_act(alices, alice):
    alices.post("/mirror/x/", {})
    type(alice).objects.update(is_active=False)
    assert ended_as() == ("failed", 403, "rejected")


def test_a_deleted_owner_is_not_anonymous(alices, alice):
    alices.post("/mirror/x/", {})
    alice.delete()
    assert ended_as() == ("failed", 403, "rejected")


def test_a_path_without_a_route_is_404(alices):
    alices.post("/mirror/x/", {})
    job = Job.objects.get()
    Job.objects.update(request={**job.request, "path_info": "/gone/", "path": "/gone/"})
    assert ended_as() == ("failed", 404, "rejected")


def test_a_replay_restores_the_script_prefix(alices):
    with override_script_prefix("/shop/"):
        accepted = alices.post("/mirror/x/", {}, SCRIPT_NAME="/shop")
    assert Job.objects.get().request["script_prefix"] == "/shop/"
    before = get_script_prefix()
    run_accepted_jobs()
    assert get_script_prefix() == before
    assert accepted["Location"].startswith("http://testserver/shop/api/jobs/")
    answer = alices.get(accepted["Location"].replace("/shop", ""))
    assert answer.json()["url"] == "http://testserver/shop/mirror/x/"
