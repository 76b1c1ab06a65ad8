"""Check a wheel: ``python check_wheel.py WHEEL``.

Run it in an environment that has only this wheel and its dependencies. It looks at the files of the wheel, and then
migrates a database with the installed package.
"""

import sys
import zipfile
from importlib.metadata import entry_points

import django
from django.conf import settings
from django.core.management import call_command

import async_accept

names = zipfile.ZipFile(sys.argv[1]).namelist()
tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
assert tops == {"async_accept"}, f"the wheel contains more than the package: {tops}"
assert "async_accept/py.typed" in names
for language in ("de", "es", "fr", "ja", "pt_BR", "zh_Hans"):
    assert f"async_accept/locale/{language}/LC_MESSAGES/django.mo" in names, f"no translation: {language}"
[plugin] = entry_points(group="pytest11")
assert plugin.value == "async_accept.contrib.pytest"

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django_celery_results",
        "async_accept",
    ],
    USE_TZ=True,
)
django.setup()
call_command("migrate", verbosity=0)

print(f"async_accept {async_accept.__version__} from {async_accept.__file__}")
