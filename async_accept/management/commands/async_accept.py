"""``manage.py async_accept``: ``relay``, ``doctor`` and ``health``."""

import json
import signal
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import TIMEOUT_MAX
from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from async_accept.checks import TAG
from async_accept.checks.doctor import Doctor, Finding
from async_accept.checks.servers import missing_migrations
from async_accept.conf import conf
from async_accept.health import examine
from async_accept.jobs.relay import Relay
from async_accept.models import Job

__all__ = ["Command"]

#: How long ``relay --once`` waits for the storage, which it has asked to remove files.
FILES_SECONDS = 60.0


class Command(BaseCommand):
    """Run a relay by itself, examine the set-up, or ask whether a job is stalled."""

    help = "Run a relay by itself, examine the whole set-up, or ask whether a job is stalled."
    #: The doctor runs the checks itself, and goes on if they fail.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        words = parser.add_subparsers(dest="word", required=True, metavar="relay|doctor|health")
        relay = words.add_parser(
            "relay", help="Act on every job whose time has come, until SIGTERM or SIGINT."
        )
        relay.add_argument("--once", action="store_true", help="Act on everything that is due, and end.")
        doctor = words.add_parser(
            "doctor", help="Examine everything; exit with 1 if a 202 would not be kept."
        )
        doctor.add_argument("--json", action="store_true", help="Print JSON.")
        doctor.add_argument(
            "--timeout",
            type=seconds,
            default=10.0,
            help="Seconds to wait for a worker, and for the probe job.",
        )
        health = words.add_parser("health", help="Tell whether any job is stalled; exit with 1 if so.")
        health.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, word: str, **options: Any) -> None:
        if word == "health":
            self.tell_health(as_json=options["json"])
            return
        # As a worker does: messages of a task that is not imported here would go to the default queue.
        current_app.loader.import_default_modules()
        if word == "relay":
            self.check(tags=[TAG])
            relay = Relay()
            with ended_by_signals(relay):
                self.tick(relay) if options["once"] else self.run(relay)
        else:
            self.consult(Doctor(options["timeout"]), as_json=options["json"])

    # --- Relay ------------------------------------------------------------------------------------------

    def run(self, relay: Relay) -> None:
        self.stdout.write(f"The relay looks every {conf.RELAY_INTERVAL.total_seconds():g} s. Ctrl-C ends it.")
        relay.run()
        self.stdout.write("The relay has ended.")

    def tick(self, relay: Relay) -> None:
        try:
            last = relay.tick()
            done = Counter(last)
            # Each duty takes a bounded number at a time. What is swept may wait for files, which are removed beside it.
            while any(last[name] for name in last if name != "swept") and not relay.stopping.is_set():
                last = relay.tick()
                done.update(last)
            # A relay waits before it believes that a lease ran out: the database may have been away.
            while relay.lost.patience and Job.objects.lease_lost().exists() and not relay.stopping.is_set():
                relay.stopping.wait(min(relay.lost.patience, conf.RELAY_INTERVAL.total_seconds()))
                done.update(relay.tick())
            relay.removal.wait(FILES_SECONDS)
            due = Job.objects.due().count()
        except Error as error:
            raise CommandError(f"The database does not answer: {type(error).__name__}") from error
        finally:
            relay.broker.close()
        self.stdout.write(", ".join(f"{count} {name}" for name, count in done.items()))
        if due:
            raise CommandError(f"{due} jobs are due, and the broker did not take them.")

    # --- Health -----------------------------------------------------------------------------------------

    def tell_health(self, *, as_json: bool) -> None:
        health = examine()
        if as_json:
            self.stdout.write(json.dumps(health._asdict()))
        elif health.stalled is None:
            self.stdout.write(why_unknown())
        else:
            self.stdout.write(f"{health.stalled} jobs are stalled.")
        if not health.ok:
            raise SystemExit(1)

    # --- Doctor -----------------------------------------------------------------------------------------

    def consult(self, doctor: Doctor, *, as_json: bool) -> None:
        findings = []
        for finding in doctor.examine():
            findings.append(finding)
            if not as_json:
                self.show(finding)
        failed = sum(finding.level == "fail" for finding in findings)
        if as_json:
            report = {"ok": not failed, "findings": [finding._asdict() for finding in findings]}
            self.stdout.write(json.dumps(report, indent=2))
        if failed:
            raise SystemExit(1)

    def show(self, finding: Finding) -> None:
        style = {"ok": self.style.SUCCESS, "warn": self.style.WARNING, "fail": self.style.ERROR}[
            finding.level
        ]
        self.stdout.write(f"{style(f'{finding.level:<4}')}  {finding.subject:<8}  {finding.message}")
        if finding.hint:
            self.stdout.write(f"{'':<16}→ {finding.hint}")


def seconds(text: str) -> float:
    """Return *text* as a number of seconds above 0 that a thread can wait.

    Raises:
        ArgumentTypeError: it is none.
    """
    with suppress(ValueError):
        if 0 < (number := float(text)) <= TIMEOUT_MAX:
            return number
    raise ArgumentTypeError(f"{text!r} is no number of seconds above 0")


def why_unknown() -> str:
    """Return in a sentence why the database did not tell of the jobs."""
    with suppress(Error):
        if missing := missing_migrations():
            return f"The database is not migrated: {', '.join(missing)}. Run manage.py migrate."
    return "The database does not answer."


@contextmanager
def ended_by_signals(relay: Relay) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the relay after its current tick."""

    def stop(*args: Any) -> None:
        relay.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
