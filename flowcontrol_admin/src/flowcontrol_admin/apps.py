"""The Django app of the admin's pages, found by its entry point."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FlowcontrolAdminConfig(AppConfig):
    """``flowcontrol_admin`` in ``INSTALLED_APPS``, through ``plugin_apps()``."""

    name = "flowcontrol_admin"
    verbose_name = _("Flow control admin")

    def ready(self) -> None:
        # Models, which it needs, can be imported only now.
        from flowcontrol_admin import protection  # noqa: PLC0415

        protection.connect()
