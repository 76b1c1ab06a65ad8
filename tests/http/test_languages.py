"""The language of a path (``i18n_patterns()``): every URL of a job keeps it, and its view is found again by it."""

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path
from django.utils import translation
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.mixins import AcceptMixin
from async_accept.testing import run_accepted_jobs

pytestmark = pytest.mark.django_db


class Plain(AcceptMixin, APIView):
    def post(self, request):
        return Response({"language": translation.get_language()}, status=201)


class Own(Plain):
    """Speaks the language of the user, whatever the path says."""

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        translation.activate("de")


class URLs:
    urlpatterns = i18n_patterns(
        path("jobs/", include("async_accept.urls")),
        path("plain/", Plain.as_view()),
        path("own/", Own.as_view()),
    )


@pytest.fixture(autouse=True)
def _languages(settings):
    settings.ROOT_URLCONF = URLs
    settings.LANGUAGES = [("de", "German"), ("en", "English")]
    settings.LANGUAGE_CODE = "de"


def accept(client, url):
    answer = client.post(url, {}, format="json")
    assert answer.status_code == 202
    return answer["Operation-Location"], answer["Location"]


@pytest.mark.parametrize("middleware", [True, False])
@pytest.mark.parametrize("has_english", [True, False])
def test_every_url_of_a_job_keeps_the_language_of_the_path(alices, settings, has_english, middleware):
    if not has_english:
        settings.LANGUAGES = [("de", "German")]
    if not middleware:
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "Locale" not in each]
    monitor, result = accept(alices, "/de/plain/")
    assert "/de/jobs/" in monitor
    assert alices.get(result)["Location"] == result
    document = alices.get(monitor).data
    assert (document["url"], document["result_url"]) == (monitor, result)
    assert alices.post(document["cancel_url"]).data["url"] == monitor
    again = alices.post(document["rerun_url"])
    assert (again.status_code, "/de/jobs/" in again["Location"]) == (202, True)


@pytest.mark.parametrize(
    ("url", "language"), [("/en/plain/", "en"), ("/de/plain/", "de"), ("/en/own/", "de")]
)
def test_a_worker_finds_the_view_by_the_language_of_the_path(alices, url, language):
    _, result = accept(alices, url)
    run_accepted_jobs()
    answer = alices.get(result)
    assert (answer.status_code, answer.json()) == (201, {"language": language})


def test_a_rerun_finds_the_view_whatever_language_its_caller_speaks(alices):
    monitor, _ = accept(alices, "/de/own/")
    run_accepted_jobs()
    answer = alices.post(monitor.replace("/de/", "/en/") + "rerun/")
    assert (answer.status_code, "/en/jobs/" in answer["Location"]) == (202, True)
