"""Renew the picture of the dashboard: ``python -m tests.integration.faults.picture docs/images/dashboard.svg``.

Prometheus watches the shop under load for eight minutes. For three of them no worker runs, so that alerts fire.
"""

import random
import subprocess
import sys
import threading
import time

import requests

from .installation import TOKEN, installed
from .monitored import Monitored
from .processes import ROOT

__all__ = ["load"]

#: Seconds before, during and after the outage.
PARTS = (150, 170, 160)


class Patient(Monitored):
    """Alerts wait as long as in the docs."""

    patience = "1m"


def load(shop: Monitored, stop: threading.Event, seed: int = 4) -> None:
    """Send some two requests in a second, of which a few go wrong."""
    session, dice = requests.Session(), random.Random(seed)
    session.headers["Authorization"] = f"Token {TOKEN}"
    skus = [product["sku"] for product in session.get(f"{shop.url}/api/products/").json()["results"]]
    while not stop.wait(dice.expovariate(2)):
        mode = dice.choices(("ok", "raise", "retry", "exit"), (90, 2, 8, 0.3))[0]
        key = f"{mode}-{dice.getrandbits(64)}"
        order = {"lines": [{"sku": dice.choice(skus), "quantity": 1}]}
        path, body = dice.choice(
            [
                ("orders/", order),
                ("orders/", order),
                ("reports/", {"rows": dice.randrange(200, 30_000)}),
                ("drills/", {"key": key, "ms": dice.randrange(20, 900), "mode": mode}),
            ]
        )
        session.post(f"{shop.url}/api/{path}", json=body, timeout=30)


def main(target: str) -> None:
    with installed(kind=Patient) as shop:
        shop.manage("seed")
        for part in shop.parts():
            if not part.runs:
                part.start()
        stop = threading.Event()
        thread = threading.Thread(target=load, args=(shop, stop))
        thread.start()
        time.sleep(PARTS[0])
        for worker in shop.workers:
            worker.stop()
        time.sleep(PARTS[1])
        sys.stdout.write(f"firing: {sorted(shop.prometheus.firing())}, ready: {shop.ready()}\n")
        for worker in shop.workers:
            worker.start()
        time.sleep(PARTS[2])
        sys.stdout.write(f"firing: {sorted(shop.prometheus.firing())}, ready: {shop.ready()}\n")
        stop.set()
        thread.join()
        draw = [sys.executable, "docs/draw_dashboard.py", shop.prometheus.url, target, str(sum(PARTS))]
        subprocess.run(draw, cwd=ROOT, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
