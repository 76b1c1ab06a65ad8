"""The tests' URLs, and pages of a project that shows jobs in its own templates."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path

from async_accept.http.panel import document_of
from async_accept.models import Job

PAGE = """{% load async_accept static %}<!doctype html>
<html lang="en">
<head>
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>A page of a project</title>
  <link rel="icon" href="{% static 'async_accept/icon.svg' %}">
  <link rel="stylesheet" href="{% static 'async_accept/async-job.css' %}">
  <script src="{% static 'async_accept/async-job.js' %}" defer></script>
</head>
<body><main><h1>Your order</h1>
  {% if empty %}<async-job url="{% url 'async_accept:job-detail' pk %}"></async-job>
  {% else %}{% async_job job wait=1 %}{% endif %}
</main></body>
</html>"""


def embedded(request: HttpRequest, pk: str) -> HttpResponse:
    job: Any = Job.objects.get(pk=pk)
    if "refused" in request.GET:
        job = {**document_of(job, request), "events_url": "/no/events/"}
    template = engines["django"].from_string(PAGE)
    context = {"job": job, "pk": pk, "empty": "empty" in request.GET, "request": request}
    return HttpResponse(template.render(context, request))


#: What the policy forbids, for the tests that must not miss it.
FORBIDDEN = {
    "nothing": "",
    "style": "<style>p { color: red }</style>",
    "script": "<script>document.title = 'ran'</script>",
    "handler": '<img src="/static/async_accept/icon.svg" alt="" onload="document.title = 1">',
    "elsewhere": '<img src="http://127.0.0.1:9/x.png" alt="">',
}


def violating(request: HttpRequest, kind: str) -> HttpResponse:
    return HttpResponse(
        '<!doctype html><html lang="en"><head><title>A page</title></head>'
        f"<body><main><h1>A page</h1><p>Text</p>{FORBIDDEN[kind]}</main></body></html>"
    )


urlpatterns = [
    path("embedded/<uuid:pk>/", embedded),
    path("violating/<str:kind>/", violating),
    path("", include("tests.urls")),
]
