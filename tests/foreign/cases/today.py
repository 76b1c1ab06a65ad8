"""What is not yet as it must be: the cases, by the part of the work that they belong to.

Each is expected to fail, and the suite says so as soon as one does not. Whoever mends a part deletes its lines here.
"""

WRONG: dict[str, tuple[str, ...]] = {
    "10.2 R is not the view's own bytes": ("patch one's own",),
    "10.2 R is not the view's own bytes, in cases of access": (
        "served[WSGI-by key]",
        "served[ASGI-by key]",
        "by password",
        "by key",
        "by session",
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
        "asks language code",
        "asks authenticator",
    ),
    "10.4 what the view keeps of its request": ("by key for a permission",),
    "10.2 R is not the view's own bytes, in what 10.5 has mended": (
        "write and return error",
        "write in savepoints",
        "untied write and return error",
        "untied write and raise",
        "untied survive duplicate",
        "untied insist on durable",
        "loose survive bulk of duplicates",
        "loose manage by hand",
        "untied write and raise invalid",
        "untied write and deny",
        "untied write in savepoints",
        "untied write both and raise",
        "untied write after no commit",
        "untied write after ledgers commit",
        "untied survive bulk of duplicates",
        "untied manage by hand",
    ),
    "11 the parsed data and META are not what they were": (
        "asks raw text",
        "asks raw bytes",
        "asks exact numbers",
        "asks query string without one",
    ),
}

TODAY_WRONG = {case: reason for reason, cases in WRONG.items() for case in cases}
