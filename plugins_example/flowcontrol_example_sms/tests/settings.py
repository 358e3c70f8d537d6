"""The settings of a site that has Flowcontrol and this plugin, for the tests."""

from __future__ import annotations

SECRET_KEY = "for tests only"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "flowcontrol_core",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
