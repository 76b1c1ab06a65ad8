"""A project in the usual style of a company, used by nobody else: what it answers at once, it must answer later.

Each of its views stands twice under the same URLs: as it is (``plain``), and with a mixin (``accepting``). ``cases/``
sends the same request to both, and compares what came of it. Those tests need the settings of this project, so
``test_foreign.py`` runs them in a process of their own::

    python -m pytest -n 0 --ds tests.foreign.settings tests/foreign/cases
"""
