from django.conf import settings

# Those need the settings of this project; test_foreign.py runs them.
collect_ignore = [] if settings.SETTINGS_MODULE == "tests.foreign.settings" else ["cases"]
