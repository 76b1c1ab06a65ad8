"""The README tells the truth: its quickstart is run as it stands there. Its curl lines: tests/shop/test_demo.py."""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.rst").read_text()

#: No server of this run is wanted here: these are the first minutes of somebody who has none.
NEWCOMER = {"DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in NEWCOMER}


def blocks(kind):
    """The contents of the README's code blocks of one kind."""
    found = re.findall(rf"^\.\. code-block:: {kind}\n\n((?:(?:   .*)?\n)+)", README, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") for block in found]


def commands():
    """Pairs of a command and what the README prints below it."""
    for block in blocks("console"):
        command, _, answer = block.removeprefix("$ ").partition("\n")
        yield command, answer


def curl_lines():
    return [(command, answer) for command, answer in commands() if command.startswith("curl ")]


def normal(text):
    """*text* without what is new in every run: ids and references."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    return re.sub(r"W-[0-9A-F]{12}", "W-REFERENCE", text)


def agrees(got, printed):
    """Whether *got* is what the README prints, where ``...`` stands for anything."""
    pattern = re.escape(normal(printed)).replace(r"\.\.\.", ".*?")
    return re.fullmatch(pattern, normal(got), re.DOTALL) is not None


def test_the_comparison_sees_a_difference():
    printed = "HTTP/1.1 202 Accepted\n...\nRetry-After: 1\n...\n\n{...}"
    assert agrees("HTTP/1.1 202 Accepted\nA: b\nRetry-After: 1\nC: d\n\n{1}", printed)
    assert not agrees("HTTP/1.1 202 Accepted\nA: b\nRetry-After: 2\nC: d\n\n{1}", printed)


def test_one_screen():
    assert len(README.splitlines()) < 250


def test_images_are_there():
    images = re.findall(r"^\.\. image:: (.+)$", README, re.MULTILINE)
    assert all((ROOT / image).is_file() for image in images)


def test_one_command_starts_the_demo_and_one_runs_the_tests():
    setup = "python3 -m venv .venv && .venv/bin/pip install -e"
    assert [command for command, _ in commands() if command.startswith("python3 -m venv")] == [
        f'{setup} ".[demo]" && .venv/bin/python manage.py demo',
        f'{setup} ".[demo,test]" && .venv/bin/python -m pytest',
    ]


def test_the_line_that_installs_names_this_project():
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    assert f"python3 -m pip install /path/to/{name}" in blocks("console")[0]


def test_every_page_installs_as_the_readme_does():
    """It is true before the first release and after it, in a clone and beside one."""
    pages = {page: page.read_text() for page in [ROOT / "README.rst", *(ROOT / "docs").rglob("*.rst")]}
    lines = [
        line
        for text in pages.values()
        for line in re.findall(
            r"^ *\$ (.*pip install.*django-async-accept.*|.*pip install -e.*)$", text, re.MULTILINE
        )
    ]
    assert len(lines) > 3
    for line in lines:
        assert (
            "-m pip install /path/to/" in line.replace('"', "") or '.venv/bin/pip install -e ".[' in line
        ), line


def test_the_lines_for_real_servers_are_those_of_the_tour():
    (lines,) = [block for block in blocks("console") if "gunicorn" in block]
    tour = (ROOT / "docs" / "tutorials" / "shop-tour.rst").read_text()
    assert textwrap.indent(lines.replace(".venv/bin/", ""), "   ") in tour


def test_what_the_lines_leave_behind_is_ignored():
    kept = re.search(r"-D (\S+)", curl_lines()[0][0])[1]
    assert f"/{kept}" in (ROOT / ".gitignore").read_text().splitlines()


PROJECT = {
    "__init__.py": "from .celery import app\n",
    "celery.py": """
        from celery import Celery

        app = Celery("store")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.autodiscover_tasks()
    """,
    "settings.py": """
        from pathlib import Path

        SECRET_KEY = "for-one-test-only-and-long-enough-for-every-check"
        INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "store"]
        DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(__file__).parent / "db.sqlite3",
                "OPTIONS": {
                    "init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE", "timeout": 20
                },
            }
        }
        ALLOWED_HOSTS = ["testserver"]
        ROOT_URLCONF = "store.urls"
        USE_TZ = True
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        CELERY_BROKER_URL = "memory://"
        CELERY_RESULT_BACKEND = "django-db"
        CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.1}
    """,
    "models.py": """
        from django.db import models

        class Order(models.Model):
            item = models.CharField(max_length=20)
            paid = models.BooleanField(default=False)
    """,
    "serializers.py": """
        from rest_framework import serializers

        from .models import Order

        class OrderSerializer(serializers.ModelSerializer):
            class Meta:
                model = Order
                fields = ["id", "item", "paid"]

        class ChargeSerializer(serializers.Serializer):
            ids = serializers.ListField(child=serializers.IntegerField(min_value=1))
    """,
    "tasks.py": """
        from .models import Order

        def charge(pk):
            return Order.objects.filter(pk=pk).update(paid=True)
    """,
    "views.py": """
        from rest_framework import viewsets
        from rest_framework.views import APIView

        from .models import Order
        from .serializers import ChargeSerializer, OrderSerializer
        from .tasks import charge_orders
    """,
    "urls.py": """
        from django.urls import include, path
        from rest_framework.routers import SimpleRouter

        from . import views

        router = SimpleRouter()
        router.register("orders", views.OrderViewSet)
        urlpatterns = [
            path("api/charges/", views.ChargeView.as_view()),
            path("api/", include(router.urls)),
        ]
    """,
}

TRIAL = """
    import os
    import time

    import django

    django.setup()
    from celery.contrib.testing.worker import start_worker
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rest_framework.test import APIClient

    from store import app

    call_command("check", fail_level="INFO")
    call_command("makemigrations", "store", verbosity=0)
    call_command("migrate", verbosity=0)
    client = APIClient()
    client.force_authenticate(User.objects.create(username="alice"))

    def follow(response):
        assert response.status_code == 202, (response.status_code, response.content)
        deadline = time.monotonic() + 20
        while response.status_code == 202 and time.monotonic() < deadline:
            time.sleep(0.1)
            response = client.get(response["Location"])
        return response

    with start_worker(app, perform_ping_check=False, pool="threads", concurrency=2):
        assert client.post("/api/orders/", {}).status_code == 400
        order = follow(client.post("/api/orders/", {"item": "tea"}))
        assert (order.status_code, order.json()) == (201, {"id": 1, "item": "tea", "paid": False}), order.content
        paid = follow(client.post("/api/charges/", {"ids": [1, 2]}, format="json"))
        assert (paid.status_code, paid.json()) == (200, {"paid": [1]}), paid.content
        print("The quickstart works.", flush=True)
        os._exit(0)  # the worker takes some seconds to stop, which shows nothing
"""


@pytest.mark.programs
def test_quickstart_works_in_a_project_of_its_own(tmp_path):
    files = {name: textwrap.dedent(text) for name, text in PROJECT.items()}
    for block in blocks("python"):
        name, _, code = block.partition("\n")
        files[name.removeprefix("# ")] += f"\n{code}\n"
    (tmp_path / "store").mkdir()
    for name, text in files.items():
        (tmp_path / "store" / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRIAL)],
        cwd=tmp_path,
        env=ENVIRONMENT | {"DJANGO_SETTINGS_MODULE": "store.settings", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert "The quickstart works." in done.stdout, done.stdout + done.stderr
