"""The Django app: loads the plugins and connects the triggers when the site starts."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from flowcontrol_core import redaction, tables
from flowcontrol_core.conf import get_settings
from flowcontrol_core.errors import translations


class FlowcontrolConfig(AppConfig):
    """``flowcontrol_core`` in ``INSTALLED_APPS``."""

    name = "flowcontrol_core"
    label = "flowcontrol_core"
    verbose_name = _("Flow control")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported only now.
        from flowcontrol_core import checks  # noqa: PLC0415
        from flowcontrol_core.flows import references  # noqa: PLC0415
        from flowcontrol_core.plugins.manager import plugin_manager  # noqa: PLC0415
        from flowcontrol_core.runs.operations import bulk  # noqa: PLC0415
        from flowcontrol_core.runs.store import connection  # noqa: PLC0415
        from flowcontrol_core.runs.triggers import fire  # noqa: PLC0415

        redaction.use_names(get_settings().SECRET_NAMES)
        translations.gettext, translations.ngettext = gettext, ngettext
        checks.register_checks()
        tables.connect()
        connection.connect()
        fire.connect()
        bulk.connect()
        plugin_manager.load()
        load_dispatcher()
        autodiscover_modules("flow_actions")
        references.connect()


def load_dispatcher() -> None:
    """Import what the setting DISPATCH names, which registers itself.

    Without Celery (extra ``celery``) nothing happens here; a system check says what is missing.
    """
    if get_settings().DISPATCH == "celery":
        with suppress(ModuleNotFoundError):
            import_module("flowcontrol_core.tasks")
