"""The shop's schema at /api/schema/, and its page."""

import re

import pytest
from django.conf import settings
from django.test import override_settings

from example_project.settings import REST_FRAMEWORK, SPECTACULAR_SETTINGS
from example_project.shop.batches import MAX_ROWS
from tests.contrib.schemas import schema_of

pytest.importorskip("drf_spectacular", reason="needs drf-spectacular (extra: openapi)")
from drf_spectacular.settings import patched_settings
from drf_spectacular.validation import validate_schema
from openapi_spec_validator import validate

pytestmark = pytest.mark.urls("example_project.urls")

#: What is no setting of one schema is the view's.
SETTINGS = {name: value for name, value in SPECTACULAR_SETTINGS.items() if not name.startswith("SERVE_")}


@pytest.fixture(scope="module")
def schema():
    shops = settings.REST_FRAMEWORK | {"DEFAULT_SCHEMA_CLASS": REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"]}
    with override_settings(REST_FRAMEWORK=shops):
        return schema_of(urlconf="example_project.urls", **SETTINGS)


def test_it_is_valid_without_a_warning(schema):
    validate_schema(schema)
    validate(schema)


def test_results_keep_their_types(schema):
    def ref(url, method, code):
        content = schema["paths"][url][method]["responses"][code]["content"]
        return content["application/json"]["schema"]

    created, done = ref("/api/orders/", "post", "201"), ref("/api/reports/", "post", "200")
    assert created == {"$ref": "#/components/schemas/Order"}
    assert done == {"$ref": "#/components/schemas/ReportsCreateResult"}
    assert created in ref("/api/jobs/{id}/result/", "get", "201")["anyOf"]
    assert done in ref("/api/jobs/{id}/result/", "get", "200")["anyOf"]


def test_sizes_of_lists_are_told(schema):
    def sizes(name, member):
        return {
            key: value
            for key, value in schema["components"]["schemas"][name]["properties"][member].items()
            if key.endswith("Items")
        }

    assert sizes("OrderRequest", "lines") == {"minItems": 1, "maxItems": 50}
    assert sizes("BatchRequest", "orders") == {"minItems": 1, "maxItems": MAX_ROWS}
    assert sizes("Order", "lines") == {}  # an old order may have none


def test_a_placed_order_takes_a_note_alone(schema):
    assert set(schema["components"]["schemas"]["PlacedOrderRequest"]["properties"]) == {"note"}


def test_a_batch_needs_a_body(schema):
    assert schema["paths"]["/api/orders/bulk/"]["post"]["requestBody"]["required"]


def test_files_are_binary(schema):
    file = schema["paths"]["/api/imports/{id}/file/"]["get"]["responses"]["200"]["content"]
    assert file == {"text/csv": {"schema": {"type": "string", "format": "binary"}}}


def test_its_page_needs_nothing_from_elsewhere(client):
    with patched_settings(SETTINGS):
        page = client.get("/api/docs/", HTTP_ACCEPT="text/html")
    found = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert len(found) >= 5
    assert all(url.startswith("/") for url in found)
    assert client.get("/api/docs/?script=").status_code == 200
    assert client.get("/api/schema/").status_code == 200
