from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from rest_framework.test import APIClient

from async_accept import testing
from example_project.shop.gateway import Fate, fate
from example_project.shop.models import Product


@pytest.fixture(autouse=True)
def quick_shop(settings: Any, tmp_path: Path) -> None:
    """No waiting: a gateway that answers at once, and a report at full speed."""
    settings.PRICING_SECONDS = settings.GATEWAY_SECONDS = 0
    settings.REPORT_ROWS_PER_SECOND = float("inf")
    settings.DRILLS = False  # their own tests mount them
    settings.DEMO_LOGIN = True
    settings.IMPORT_MAX_BYTES = 1_000_000
    settings.TROUBLEMAKER = True
    settings.PAYMENT_WEBHOOK_SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    settings.EFFECTS_FILE = str(tmp_path / "effects.txt")
    cache.clear()  # every test has an alice of its own, and the throttle of polls takes them for one


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def tea(db: None) -> Product:
    return Product.objects.create(sku="TEA", name="Tea", price="2.50", stock=10)


@pytest.fixture
def client(alice: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(alice)
    return client


@pytest.fixture
def follow(client: APIClient) -> Callable[[Any], Any]:
    """Runs the job of a 202 and gives what its Location answers then."""
    return partial(testing.follow, client)


@pytest.fixture
def reference() -> Callable[[Fate], str]:
    """Gives a fresh reference that the gateway treats as wanted."""
    numbers = count()

    def reference(wanted: Fate = Fate.APPROVED) -> str:
        return next(name for name in map("R-{}".format, numbers) if fate(name) is wanted)

    return reference
