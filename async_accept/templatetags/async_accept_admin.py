"""What the admin's templates say about jobs."""

import re
from datetime import datetime, timedelta

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from ..admin.cells import moment, moment_in_full
from ..admin.formatting import duration

register = template.Library()


@register.filter
def short_duration(span: timedelta) -> str:
    """Say how long *span* is, in at most two units."""
    return duration(span)


@register.filter
def breakable(url: str) -> SafeString:
    """Let a long URL, or a dotted name, be broken between its parts, and not in the middle of a word."""
    return format_html_join(
        SafeString("<wbr>"), "{}", ((part,) for part in re.findall(r"[^/#.]*[/#.]+|[^/#.]+", str(url)))
    )


@register.simple_tag
def job_moment(when: datetime | None) -> SafeString:
    """Say when something was, with the exact time in the title."""
    return moment(when)


@register.simple_tag
def job_moment_in_full(when: datetime | None) -> SafeString:
    """Say when something was, and the exact time."""
    return moment_in_full(when)
