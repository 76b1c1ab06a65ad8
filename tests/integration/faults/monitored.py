"""An installation that a Prometheus of the test's own watches: web, two workers, and the rules of the docs."""

import re
import shutil
from pathlib import Path
from typing import Any

import requests

from .installation import Installation
from .processes import ROOT, Part, Server, free_port

__all__ = ["TOKEN", "Monitored", "Prometheus"]

TOKEN = "a-token-of-a-monitoring-system"
ALERTS = ROOT / "docs" / "monitoring" / "alerts.yml"
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: shop-web
    metrics_path: /metrics/
    authorization: {{credentials: {token}}}
    static_configs: [{{targets: ["{web}"]}}]
  - job_name: shop-workers
    authorization: {{credentials: {token}}}
    static_configs: [{{targets: {workers}}}]
"""


class Prometheus(Server):
    """Prometheus with its data in a folder of the test's own."""

    def __init__(self, folder: Path, web: str, workers: list[str], patience: str) -> None:
        (folder / "prometheus.yml").write_text(CONFIG.format(token=TOKEN, web=web, workers=workers))
        # The rules as they are, but for how long they wait before they fire.
        (folder / "alerts.yml").write_text(re.sub(r"for: \d+m", f"for: {patience}", ALERTS.read_text()))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        own = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command = [str(shutil.which("prometheus")), *own, f"--web.listen-address=127.0.0.1:{port}"]
        super().__init__("prometheus", command, folder, port)

    def ask(self, path: str, **params: Any) -> Any:
        response = requests.get(f"{self.url}/api/v1/{path}", params=params, timeout=10)
        response.raise_for_status()
        return response.json()["data"]

    def value(self, query: str) -> float | None:
        """Return what a query with one result gives now; None without a result."""
        found = self.ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        alerts = self.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def targets_up(self) -> int:
        return sum(target["health"] == "up" for target in self.ask("targets")["activeTargets"])


class Monitored(Installation):
    """Only the workers run relays, so without them nothing acts on a job."""

    #: How long an alert waits before it fires.
    patience = "2s"

    def __init__(self, folder: Path, *options: Any) -> None:
        self.addresses = {f"worker-{name}": f"127.0.0.1:{free_port()}" for name in ("one", "two")}
        super().__init__(folder, *options)
        web = self.url.removeprefix("http://")
        self.prometheus = Prometheus(
            self._folder("prometheus"), web, list(self.addresses.values()), self.patience
        )

    def env_of(self, part: str) -> dict[str, str]:
        """Give each part a directory of its own, as if it was on a machine of its own."""
        counts = self.folder / f"metrics-{part}"
        counts.mkdir(exist_ok=True)
        own = {"PROMETHEUS_MULTIPROC_DIR": str(counts), "MONITORING_TOKENS": TOKEN}
        if part in self.addresses:
            own["WORKER_METRICS_ADDRESS"] = self.addresses[part]
        return self.env | own

    def parts(self) -> list[Part]:
        return [self.prometheus, self.web, *self.workers, self.broker, self.database]

    def ready(self) -> int:
        """Return the status of the readiness view."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.get(f"{self.url}/health/ready/", headers=headers, timeout=10).status_code
