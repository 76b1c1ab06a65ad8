"""Generates the schemas that the tests look at."""

from typing import Any

from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings

JOBS = path("jobs/", include("async_accept.urls"))


def schema_of(*patterns: Any, urlconf: str | None = None, **settings: Any) -> dict[str, Any]:
    """Return the schema of *patterns*, or of *urlconf*; fail if there is any warning."""
    with GENERATOR_STATS.silence(), patched_settings({"SCHEMA_PATH_PREFIX": "/", **settings}):
        schema: dict[str, Any] = SchemaGenerator(urlconf=urlconf, patterns=patterns or None).get_schema(
            public=True
        )
    assert not GENERATOR_STATS, [*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache]
    return schema


def operation(view: Any, method: str = "post", *others: Any, **settings: Any) -> dict[str, Any]:
    """Return the operation of *view*, beside the endpoints of jobs."""
    found: dict[str, Any] = schema_of(path("it/", view), JOBS, *others, **settings)["paths"]["/it/"][method]
    return found


def parameters(operation: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in operation.get("parameters", [])}
