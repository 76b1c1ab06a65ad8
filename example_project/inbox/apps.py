"""The app of the inbox."""

from django.apps import AppConfig


class InboxConfig(AppConfig):
    """Stands for another company: it is told by webhooks when jobs of the shop have ended."""

    name = "example_project.inbox"
    verbose_name = "Inbox"
