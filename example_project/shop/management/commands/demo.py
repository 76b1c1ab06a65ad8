"""`manage.py demo`: run the whole shop in one process. Nothing else has to be installed or started."""

import errno
import os
import signal
import sys
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, get_internal_wsgi_application

from example_project.celery import app
from example_project.shop import apps
from example_project.shop.seed import ACCOUNTS, seed
from example_project.shop.worker import WorkerThread

SAMPLE = Path(apps.__file__).parent / "static" / "shop" / "orders-500.csv"

# How long the demo waits between the attempts to deliver a notice, so that a visitor can watch all of them.
RETRY_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (2, 4, 8))

# How long Ctrl-C waits for running jobs. A job that takes longer continues after the next start.
GRACE_SECONDS = 3.0


class Command(BaseCommand):
    """Migrate, seed, and run the web server and a worker until Ctrl-C."""

    help = "Run the shop: database, web server and worker in this one process."
    requires_system_checks = ()  # handle() runs them after it has the port, because they may open the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", default=8000, type=int, help="port to listen on (default: %(default)s)")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        # First the port: if another demo runs, this one stops here, before it changes the database.
        server = _listen(host, port)
        _let_webhooks_in(server.server_port)
        self.check()
        # A shell that starts the demo in the background lets it ignore SIGINT.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        worker = None
        try:
            call_command("migrate", interactive=False, verbosity=0)
            seed()
            worker = WorkerThread(app)
            worker.start()
            self._welcome(f"http://{host}:{server.server_port}")
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            self.stdout.write("\nClosing the shop …")
        finally:
            server.server_close()
            left = worker.stop(GRACE_SECONDS) if worker else 0
        if left:
            self.stdout.write(f"Jobs cut short: {left}. They continue after the next start.")
        _leave()

    def _welcome(self, url: str) -> None:
        token = ACCOUNTS[0].token
        sample = os.path.relpath(SAMPLE) if SAMPLE.is_relative_to(Path.cwd()) else str(SAMPLE)
        authorization = f"-H 'Authorization: Token {token}'"
        write = self.stdout.write
        write(f"\nCorner Shop is open: {self.style.SUCCESS(url + '/')}   (Ctrl-C closes it)\n")
        write("  account / password      API token")
        for account in ACCOUNTS:
            write(f"  {account.username + ' / ' + account.password:<22}  {account.token}")
        write("\nOne order:")
        write(
            f"  curl -i {authorization} -H 'Content-Type: application/json'"
            f""" -d '{{"lines": [{{"sku": "TEA-ASSAM", "quantity": 2}}]}}' {url}/api/orders/"""
        )
        write("500 orders from a CSV file. The file 202.txt keeps the headers of the response:")
        write(f"  curl -i -D 202.txt {authorization} -F file=@{sample} {url}/api/orders/bulk/")
        write("Follow that job. Its Location answers 202 while the job runs, and then the result:")
        location = "$(sed -n 's/^[Ll]ocation: *//p' 202.txt | tr -d '\\r')"
        write(f"  curl -i -H 'Prefer: wait=5' {authorization} \"{location}\"\n")
        self.stdout.flush()


def _listen(host: str, port: int) -> ThreadedWSGIServer:
    """Return a server that listens at this address.

    Raises:
        CommandError: the port is in use or is none, or the address is not one of this machine.
    """
    try:
        server = ThreadedWSGIServer((host, port), WSGIRequestHandler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(f"Port {port} is in use. Try: manage.py demo --port {port + 1}") from error
        raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror or error}") from error
    except OverflowError as error:
        raise CommandError(f"{port} is no port; those are the numbers from 0 to 65535.") from error
    server.set_app(StaticFilesHandler(get_internal_wsgi_application()))
    return server


def _let_webhooks_in(port: int) -> None:
    """Let webhooks go to the inbox, which is this very server, and to nothing else on this machine."""
    settings.ASYNC_ACCEPT = {
        **settings.ASYNC_ACCEPT,
        "WEBHOOK_ALLOW_HTTP": True,
        "WEBHOOK_ALLOW_LOOPBACK": True,
        "WEBHOOK_PORTS": (port,),
        "WEBHOOK_RETRY_DELAYS": RETRY_DELAYS,
    }


def _leave() -> None:
    """End the process at once. Otherwise Python would wait for the threads of the pool. No job is lost by that."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
