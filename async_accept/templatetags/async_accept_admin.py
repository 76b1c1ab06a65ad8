"""Filters and tags of the admin's templates."""

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
    """Write a duration in at most two units."""
    return duration(span)


@register.filter
def breakable(url: str) -> SafeString:
    """Let the browser break a long URL or dotted name between its parts, and not in the middle of a word."""
    return format_html_join(
        SafeString("<wbr>"), "{}", ((part,) for part in re.findall(r"[^/#.]*[/#.]+|[^/#.]+", str(url)))
    )


@register.simple_tag
def job_moment(when: datetime | None) -> SafeString:
    """Write *when* as people say it, such as "2 min ago", with the exact time in the title."""
    return moment(when)


@register.simple_tag
def job_moment_in_full(when: datetime | None) -> SafeString:
    """Write *when* as people say it, and the exact time beside it."""
    return moment_in_full(when)
