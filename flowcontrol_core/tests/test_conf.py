"""The settings of a project, read when they are needed."""

from __future__ import annotations

from typing import Any

import pytest

from flowcontrol_core.conf import Settings, get_settings, known_names


def test_defaults_count_where_the_project_says_nothing(settings: Any) -> None:
    settings.FLOWCONTROL = {}
    assert get_settings() == Settings()


def test_what_the_project_says_counts_as_soon_as_it_changes(settings: Any) -> None:
    settings.FLOWCONTROL = {"LEASE": 5}
    assert (get_settings().LEASE, get_settings().MAX_DEPTH) == (5, 20)
    settings.FLOWCONTROL = {}
    assert get_settings().LEASE == 60
    assert get_settings() is get_settings()


@pytest.mark.parametrize("value", [None, [], "LEASE", 5])
def test_settings_that_are_no_dictionary_do_not_stop_the_site(settings: Any, value: Any) -> None:
    settings.FLOWCONTROL = value
    assert get_settings() == Settings()


def test_unknown_names_are_left_to_the_check(settings: Any) -> None:
    settings.FLOWCONTROL = {"LEESE": 5}
    assert get_settings() == Settings()
    assert "LEASE" in known_names()
    assert "LEESE" not in known_names()


def test_two_projects_do_not_share_their_defaults() -> None:
    assert Settings().EXPRESSION_FIELDS is not Settings().EXPRESSION_FIELDS
