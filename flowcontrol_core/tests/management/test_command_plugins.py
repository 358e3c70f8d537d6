from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from flowcontrol_core.management.commands.flowcontrol import Command
from flowcontrol_core.management.plugin_table import plugin_table
from flowcontrol_core.plugins.manager import plugin_manager
from flowcontrol_core.plugins.reports import PluginReport, PluginStatus

SOUND = PluginReport(
    name="mail",
    distribution="acme-mail",
    version="1.2",
    module="acme_mail.plugin",
    status=PluginStatus.ACTIVE,
    actions=("mail.send",),
    triggers=("mail.came", "mail.bounced"),
)
BROKEN = PluginReport(
    name="sms",
    distribution="acme-sms",
    version="0.9",
    module="acme_sms.plugin",
    status=PluginStatus.FAILED,
    reason="ImportError: no gateway",
    remedy="Uninstall acme-sms.",
    traceback="Traceback: line 1\nline 2",
)
DISABLED = PluginReport(
    name="fax", distribution="", version="", module="fax", status=PluginStatus.DISABLED
)


def use(monkeypatch: pytest.MonkeyPatch, *reports: PluginReport) -> None:
    monkeypatch.setattr(plugin_manager, "reports", reports)


def test_the_table_says_what_each_plugin_offers() -> None:
    head, row = plugin_table([SOUND]).splitlines()
    assert head.split() == ["NAME", "STATUS", "DISTRIBUTION", "VERSION", "ACTIONS", "TRIGGERS"]
    assert row.split() == ["mail", "active", "acme-mail", "1.2", "1", "2"]


def test_the_table_says_why_a_plugin_is_broken_and_the_remedy() -> None:
    table = plugin_table([BROKEN])
    assert "    ImportError: no gateway\n    Remedy: Uninstall acme-sms.\n" in table
    assert "line 2" not in table


def test_details_have_the_keys_and_the_traceback() -> None:
    table = plugin_table([SOUND, BROKEN], details=True)
    assert "    action mail.send\n    trigger mail.came\n    trigger mail.bounced\n" in table
    assert "    Traceback: line 1\n    line 2\n" in table


def test_that_there_is_no_plugin_is_written_in_words() -> None:
    assert plugin_table([]) == "No plugin is installed.\n"


def test_sound_and_disabled_plugins_are_no_failure(
    call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, SOUND, DISABLED)
    assert "fax   disabled  -" in call("plugins")


def test_a_broken_plugin_gives_exit_status_1_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, SOUND, BROKEN)
    with pytest.raises(CommandError, match=r"Not loaded: sms\.") as raised:
        call_command("flowcontrol", "plugins")
    assert raised.value.returncode == 1
    assert "acme-sms" in capsys.readouterr().out


def test_plugins_can_be_listed_although_a_check_fails(
    call: Callable[..., str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    use(monkeypatch, SOUND)
    settings.USE_TZ = False
    assert "mail" in call("plugins")


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["-v", "2"], {"verbosity": 2}),
        (["--settings=some.settings"], {"settings": "some.settings"}),
        (["--pythonpath", "folder"], {"pythonpath": "folder"}),
        (["--traceback"], {"traceback": True}),
        (["--no-color"], {"no_color": True}),
        (["--force-color"], {"force_color": True}),
    ],
)
@pytest.mark.parametrize("subcommand", ["plugins", "run", "doctor", "worker", "export", "cancel"])
def test_options_of_every_command_are_taken_before_and_after_the_subcommand(
    options: list[str], values: dict[str, Any], subcommand: str
) -> None:
    parser = Command().create_parser("manage.py", "flowcontrol")
    words = [subcommand, "7"] if subcommand == "cancel" else [subcommand]
    plain = vars(parser.parse_args(words))
    assert vars(parser.parse_args([*words, *options])) == plain | values
    assert vars(parser.parse_args([*options, *words])) == plain | values
