"""Outbound webhooks, a second, opt-in app: signed notices of jobs that have ended.

Add ``async_accept.webhooks`` to ``INSTALLED_APPS`` after ``async_accept``, and install the extra ``webhooks``.
"""
