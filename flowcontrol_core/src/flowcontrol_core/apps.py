"""The Django app: loads the plugins and connects the triggers when the site starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class FlowcontrolConfig(AppConfig):
    """``flowcontrol_core`` in ``INSTALLED_APPS``."""

    name = "flowcontrol_core"
    label = "flowcontrol_core"
    verbose_name = _("Flow control")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported only now.
        from flowcontrol_core import checks, startup  # noqa: PLC0415

        checks.register_checks()
        startup.start()
        autodiscover_modules("flow_actions")
