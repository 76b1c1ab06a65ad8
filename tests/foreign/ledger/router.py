from typing import Any


class LedgerRouter:
    """The app ``ledger`` has the database ``ledger``, and nothing else is there."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "ledger" if model._meta.app_label == "ledger" else None

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        labels = {one._meta.app_label, other._meta.app_label}
        return len(labels) == 1 if "ledger" in labels else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "ledger") == (app_label == "ledger")
