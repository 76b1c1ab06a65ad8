"""Steps that both projects have in common; their ``steps.py`` add what differs."""

import json
from typing import Any

from .orders import BODY
from .statements import recorded


def token_of(user: int) -> str:
    return f"{user:040}"


def prepare(users: int = 1) -> list[str]:
    """Make the tables and the users, and return the users' tokens."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    call_command("migrate", interactive=False, verbosity=0)
    people = get_user_model()._default_manager
    tokens = [token_of(n) for n in range(users)]
    for n, key in enumerate(tokens):
        user, _ = people.get_or_create(username=f"bench-{n}", defaults={"password": "!"})
        Token.objects.get_or_create(user=user, defaults={"key": key})
    return tokens


def client() -> Any:
    from rest_framework.test import APIClient

    # The host is part of every document, and so of its entity tag.
    headers = {"HTTP_HOST": "127.0.0.1", "HTTP_ACCEPT": "application/json"}
    return APIClient(HTTP_AUTHORIZATION=f"Token {token_of(0)}", **headers)


def post(path: str = "/orders/", **headers: str) -> Any:
    return client().post(path, BODY.decode(), content_type="application/json", **headers)


def statements_of(call: Any) -> list[str]:
    """Return the statements of a request like one before: what is looked up once in a process is known by then."""
    call()
    with recorded() as found:
        call()
    return [statement.split(" FROM")[0][:60] for statement in found]


def accept_statements(with_key: bool = False) -> list[str]:
    from uuid import uuid4

    return statements_of(lambda: post(**({"HTTP_IDEMPOTENCY_KEY": uuid4().hex} if with_key else {})))


def purge() -> int:
    """Drop the messages in the default queue, and return how many there were."""
    from celery import current_app

    with current_app.connection_for_write() as connection:
        current_app.amqp.queues[current_app.conf.task_default_queue](connection.default_channel).declare()
        return int(connection.default_channel.queue_purge(current_app.conf.task_default_queue))


def truncate(*models: Any) -> None:
    from django.db import connection
    from django_celery_results.models import TaskResult

    names = ", ".join(f'"{model._meta.db_table}"' for model in (*models, TaskResult))
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {names} CASCADE")


def document(answer: Any) -> Any:
    return json.loads(answer.content)
