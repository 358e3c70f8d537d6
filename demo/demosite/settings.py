"""The settings of the demo site: what a project needs for Flowcontrol, and little else."""

from __future__ import annotations

import os
from pathlib import Path

import django

from flowcontrol_core import plugin_apps

HERE = Path(__file__).resolve().parent.parent
#: The folder of the database and the e-mails; each start creates its content anew.
FOLDER = Path(os.environ.get("FLOWCONTROL_DEMO_FOLDER", HERE / ".demo"))

SECRET_KEY = "not a secret: this site runs on your own machine only"
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "flowcontrol_core",
    # The plugins that are Django apps, found through their entry points.
    *plugin_apps(),
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "demosite.urls"
WSGI_APPLICATION = "demosite.wsgi.application"
STATIC_URL = "static/"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "demo.sqlite3",
        # The web server and the worker write at the same time: each waits for its turn at the
        # start of its transaction; readers do not wait.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "Europe/Berlin"
LANGUAGE_CODE = "en"

LOGIN_URL = "log-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
# Fast, and good enough for the passwords of fictional people.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

_FILES = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION < (6, 1):
    EMAIL_BACKEND = _FILES
    EMAIL_FILE_PATH = FOLDER / "mail"
else:
    MAILERS = {"default": {"BACKEND": _FILES, "OPTIONS": {"file_path": FOLDER / "mail"}}}
DEFAULT_FROM_EMAIL = "Paper & Ink <shop@paper-and-ink.example>"
MANAGERS = [("Manager", "manager@paper-and-ink.example")]
ADMINS = [("Admin", "admin@paper-and-ink.example")]

FLOWCONTROL = {
    # The models whose signals fire triggers.
    "SIGNAL_MODELS": ("shop.customer", "shop.order"),
    # The fields that expressions can use: "object.customer.email" needs the first two lines.
    "EXPRESSION_FIELDS": {
        "shop.order": ["customer", "title", "copies", "total", "status"],
        "shop.customer": ["name", "email", "phone", "newsletter"],
        "auth.user": ["username"],
    },
}
