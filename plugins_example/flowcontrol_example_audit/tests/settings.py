"""The settings of a site that has Flowcontrol and this plugin, for the tests."""

from __future__ import annotations

from flowcontrol_core import plugin_apps

SECRET_KEY = "for tests only"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "flowcontrol_core",
    # A site has all of them; other plugins of this environment are not under test here.
    *(app for app in plugin_apps() if app.startswith("flowcontrol_example_audit.")),
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
