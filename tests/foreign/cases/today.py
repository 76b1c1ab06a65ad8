"""What is not yet as it must be: the cases, by the part of the work that they belong to.

Each is expected to fail, and the suite says so as soon as one does not. Whoever mends a part deletes its lines here.
"""

WRONG: dict[str, tuple[str, ...]] = {
    "10.3 the URLs of jobs know the project's default authentication only": (
        "follow[password]",
        "follow[key]",
        "follow[session]",
        "list_with[password]",
        "list_with[key]",
        "list_with[session]",
        "served[WSGI-by key]",
        "served[ASGI-by key]",
        "by password",
        "by key",
        "by session",
    ),
    "10.3 no credentials: 404, or an empty list, in place of 401": (
        "without_credentials[get ]",
        "without_credentials[get result/]",
        "without_credentials[post cancel/]",
        "without_credentials[post rerun/]",
        "without_credentials[delete ]",
        "list_without_credentials",
    ),
    "10.4 what was not kept is missed quietly, or as an unexpected error": (
        "missed[ask_claims]",
        "missed[ask_tenant]",
        "missed[ask_tenant_or_public]",
        "missed[ask_session]",
        "missed[ask_cookies]",
        "missed[ask_body]",
        "missed[say]",
        "missed_tenant_writes_nothing",
    ),
    "10.4 what the view keeps of its request": (
        "served[WSGI-creates for a tenant]",
        "served[ASGI-creates for a tenant]",
        "by scoped token",
        "asks claims",
        "asks tenant",
        "asks tenant or public",
        "asks current tenant",
        "asks trace",
        "asks trace or none",
        "creates for a tenant",
        "creates by a view set for a tenant",
        "changes for a tenant",
    ),
    "10.4 what middleware and authentication have put on the request": (
        "asks language code",
        "asks authenticator",
    ),
    "10.5 Prefer: wait is not honoured under ATOMIC_REQUESTS": (
        "wait[WSGI]",
        "wait[ASGI]",
    ),
    "10.5 a 4xx that was returned rolls back in the replay": (
        "write and return error",
        "write in savepoints",
    ),
    "10.5 a view outside of the request's transaction is put into the job's": (
        "untied write and return error",
        "untied write and raise",
        "untied survive duplicate",
        "untied insist on durable",
    ),
    "10.6 JobTask derives from Celery's Task, not from the app's": (
        "job_task_has_the_base_of_the_app",
        "job_task_delays_on_commit",
    ),
    "10.6 a plain Django view fails at its first request, without a word of help": (
        "django_view_is_refused[class]",
        "django_view_is_refused[as_view]",
        "django_function_is_refused",
    ),
    "10.7 the log has neither the traceback nor the deepest frame of the project": (
        "bug_is_found_in_the_log",
    ),
    "10.7 a code of the project's own leads to an anchor that is not there": (
        "type_of_the_company_own_code",
    ),
    "10.8 a task's 1xx or 304 is taken for an answer": (
        "task_answers_no_final_status[103]",
        "task_answers_no_final_status[304]",
    ),
    "10.8 RFC 3339 in lower case is refused": ("lower_case_zone_in_a_time",),
    "10.8 the list has no Cache-Control": ("list_is_private",),
    "10.10 run_accepted_jobs() publishes the project's other tasks": ("other_tasks_stay_in_the_test",),
    "10.10 check has a note that the README does not name": ("checks_are_silent",),
    "11 the parsed data and META are not what they were": (
        "asks raw text",
        "asks raw bytes",
        "asks exact numbers",
        "asks query string without one",
    ),
}

TODAY_WRONG = {case: reason for reason, cases in WRONG.items() for case in cases}
