"""Metrics for Prometheus (extra ``prometheus``): an app of its own, ``async_accept.contrib.prometheus``.

What happened is counted in memory by the process that has changed a job, after the commit (``counting``). What is now,
such as how many jobs wait, is asked of the table at the scrape (``table``): a gauge that a process keeps is wrong as
soon as the process is killed. ``exposition`` puts both together, and ``directory`` looks after the files by which
several processes count together.
"""
