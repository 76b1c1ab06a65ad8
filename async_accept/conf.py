"""The settings of async_accept: one dict, ``ASYNC_ACCEPT``, looked up when used.

``DEFAULTS`` is the documentation: the comment above an entry gives its meaning, its unit and when to change it.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils.functional import empty

__all__ = ["DEFAULTS", "LONGEST", "conf"]

#: No setting is longer, and no job waits longer: every database can store a time so far from now.
LONGEST = timedelta(days=365 * 1000)

DEFAULTS: dict[str, Any] = {
    # --- Accepting ---------------------------------------------------------------------------------
    # When a view answers 202: "always", "never", "prefer" (only when the client asks with Prefer: respond-async), or
    # a function of the request that returns one of these. A view's accept_mode overrides it.
    "ACCEPT_MODE": "always",
    # The largest input of a job in bytes of JSON; more is answered 413. Large data belongs into uploads.
    "MAX_INPUT_BYTES": 1_000_000,
    # The largest multipart body of an upload in bytes; None: the server's own limit.
    "MAX_UPLOAD_BYTES": None,
    # The alias in STORAGES that keeps uploaded files until their job has ended; web and workers must share it.
    "UPLOAD_STORAGE": "default",
    # Whether a request may ("optional"), must ("required") or cannot ("ignored") carry an Idempotency-Key.
    "IDEMPOTENCY": "optional",
    # How long a key stands for its job; clients must not repeat a request after that. OPTIONS tells them. Not longer
    # than JOB_LIFETIME or RESULT_LIFETIME, whichever is longer: a key goes with its job.
    "IDEMPOTENCY_KEY_LIFETIME": timedelta(days=1),
    # How many active jobs one owner, or one operation, may have; more are answered 429. None: no cap.
    "MAX_ACTIVE_PER_OWNER": None,
    "MAX_ACTIVE_PER_OPERATION": None,
    # What a view does while the broker is down: "accept" (202; the relay publishes later) or "refuse" (503).
    # To be able to refuse, it asks the broker before each insert.
    "WHEN_BROKER_DOWN": "accept",
    # How long each step with the broker may take in a request, in seconds; after that the relay publishes the job.
    # More than the slowest healthy connect, which is three round trips with Redis and seven with RabbitMQ.
    "BROKER_TIMEOUT": 0.2,
    # Further headers of the request that are kept for the view's replay in the worker, such as ("X-Tenant",). They are
    # stored as they come, so name none that carries a secret. A view adds its own by accept_headers.
    "KEEP_HEADERS": (),
    # Jobs of anonymous callers get a random (version 4) id, because their URL is the only key to them.
    # False gives them time-ordered ids as everybody else.
    "RANDOM_ANONYMOUS_IDS": True,
    # --- Running -----------------------------------------------------------------------------------
    # How long a claim holds without a heartbeat. Shorter notices a dead worker sooner, longer forgives a
    # database that is away for longer.
    "LEASE": timedelta(seconds=15),
    # How often a worker process writes progress, prolongs its leases and learns of cancellations.
    "HEARTBEAT": timedelta(seconds=1),
    # How many attempts a job has in all, lost ones included; a task's max_attempts overrides it.
    "MAX_ATTEMPTS": 5,
    # The largest result that is kept in the database, in bytes. More JSON fails the job with a clear problem; anything
    # else, such as CSV or PDF, becomes a file in UPLOAD_STORAGE, which is removed when the result expires.
    "MAX_RESULT_BYTES": 1_000_000,
    # The largest result that becomes such a file, in bytes; more fails the job.
    "MAX_RESULT_FILE_BYTES": 100_000_000,
    # --- The relay ---------------------------------------------------------------------------------
    # How often the relay on duty looks for jobs that were left behind. If it is gone, another one takes over within two
    # intervals.
    "RELAY_INTERVAL": timedelta(seconds=3),
    # A job that no worker has claimed for this long is published again; each further time waits twice as long, up to
    # an hour.
    "REPUBLISH_AFTER": timedelta(seconds=10),
    # False runs no relay inside workers; then run `manage.py async_accept relay` yourself.
    "RELAY_IN_WORKER": True,
    # --- Keeping -----------------------------------------------------------------------------------
    # How long a result can be fetched after the end; then 410.
    "RESULT_LIFETIME": timedelta(days=1),
    # How long the row of an ended job is kept after its end; then 404.
    "JOB_LIFETIME": timedelta(days=30),
    # --- Showing -----------------------------------------------------------------------------------
    # A regular expression, searched in the keys of stored data; what stands under a matching key is hidden
    # wherever that data is shown to staff. Short words match as words of a name only: card_cvv and userPin, but not
    # shipping.
    "REDACT_KEYS": (
        r"(?i:passw|passphrase|passcode|pwd|secret|token|jwt|api[-_]?key|private[-_]?key|access[-_]?key|authorization"
        r"|credential|cookie|session|signature|card[-_]?number)"
        r"|(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z])|(?=[A-Z][a-z]))(?i:pin|cvv|cvc|otp|iban|ssn|bearer)(?![a-z])"
    ),
    # --- Following ---------------------------------------------------------------------------------
    # The authentication, permission and throttle classes of the jobs' URLs, or their dotted paths. Whoever may send a
    # request must be able to follow it, so the first have to take the credentials that the accepting views take (check
    # async_accept.W011). None: the project's DEFAULT_AUTHENTICATION_CLASSES; everybody may ask, and sees their own
    # jobs; and PollThrottle, which knows POLL_RATE.
    "AUTHENTICATION_CLASSES": None,
    "PERMISSION_CLASSES": None,
    "THROTTLE_CLASSES": None,
    # What renders the 202, the status monitor, lists, problems and events: renderers, as classes or dotted paths. The
    # first one is the default. The status page, and JSON as application/vnd.async-accept+json, are there in any case.
    "RENDERER_CLASSES": (
        "async_accept.http.renderers.PlainJSONRenderer",
        "async_accept.http.renderers.AcceptBrowsableAPIRenderer",
    ),
    # Retry-After by age of the job: (younger than, seconds to wait). The last entry has no bound.
    "RETRY_AFTER": ((10, 1), (60, 2), (600, 5), (None, 15)),
    # The longest wait, in seconds, that a client can ask for (Prefer: wait, ?wait=); 0 switches waiting off.
    "MAX_WAIT_SECONDS": 10,
    # How many threads of one process may wait at a time; further ones are answered at once; 0: none waits.
    "MAX_WAITERS": 4,
    # How many event streams (ASGI) one process holds at a time, and how many of them one caller has: a user, or an
    # address. Further ones are answered 503, and 429. None: no cap. A stream costs memory, about 50 KB.
    "MAX_STREAMS": 10_000,
    "MAX_STREAMS_PER_CALLER": 1_000,
    # How many streams one process opens at a time, each with a thread and a connection to the database. Further ones
    # wait for their turn, and none is refused. Raise it if each round trip to the database takes long.
    "MAX_STREAM_OPENINGS": 4,
    # How often one caller may ask one process for one job; None: no limit. A scope of its own, so that a project-wide
    # throttle does not stop polls.
    "POLL_RATE": "100/s",
    # Where the documentation of the problem types is found: the code is appended.
    "PROBLEM_TYPE_BASE": "https://django-async-accept.readthedocs.io/en/stable/problems.html#",
    # The same for your own codes, JobFailed(code=…). None: PROBLEM_TYPE_BASE if you have set it, else the type is
    # "about:blank" (RFC 9457, section 4.2.1), and the code alone names the problem.
    "OWN_PROBLEM_TYPE_BASE": None,
    # --- Monitoring --------------------------------------------------------------------------------
    # The bearer tokens with which a monitoring system may read metrics and health; two while one is replaced. Staff
    # with the permission async_accept.view_job may read them in any case.
    "MONITORING_TOKENS": (),
    # For the app async_accept.contrib.prometheus: where each worker serves its metrics, such as "127.0.0.1:9540". Each
    # worker on a machine needs a port of its own. None: it does not.
    "WORKER_METRICS_ADDRESS": None,
    # --- Webhooks ----------------------------------------------------------------------------------
    # For the app async_accept.webhooks. The queue of the task that sends notices; a worker must consume it. A queue of
    # its own, so that a slow receiver holds up no job.
    "WEBHOOK_QUEUE": "webhooks",
    # The ports that a receiver may have; None: any.
    "WEBHOOK_PORTS": (80, 443, 8080, 8443),
    # Whether a receiver may have an http:// URL.
    "WEBHOOK_ALLOW_HTTP": False,
    # Whether a receiver may be on this machine; for tests and demos only.
    "WEBHOOK_ALLOW_LOOPBACK": False,
    # How many endpoints one owner may have.
    "WEBHOOK_MAX_ENDPOINTS": 20,
    # How many notices may wait for one endpoint; further ones are dropped; a gap in the numbers tells.
    "WEBHOOK_MAX_WAITING": 10_000,
    # How long a notice waits after each attempt that failed; each wait is up to a fifth longer, by chance. There is one
    # attempt more than waits; after the last one the delivery is failed. Shorter for receivers of your own.
    "WEBHOOK_RETRY_DELAYS": (
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=10),
        timedelta(hours=14),
        timedelta(hours=20),
        timedelta(days=1),
    ),
}


class Conf:
    """Attribute access to the settings: ``conf.LEASE``."""

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            raise AttributeError(f"ASYNC_ACCEPT has no setting {name!r}.")
        # Each request asks many times, and what is not set costs LazySettings an exception each time.
        source: Any = settings._wrapped  # type: ignore[misc]
        given = getattr(settings if source is empty else source, "ASYNC_ACCEPT", {})
        return given.get(name, DEFAULTS[name])


conf = Conf()
