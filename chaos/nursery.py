"""Prepares a process for causing faults; loaded too in the one that all others are forked from.

It never uses the database.
"""

from __future__ import annotations

import importlib

import django

#: The modules of the faults.
MODULES = (
    *("storm", "points", "poison", "limits", "operators", "wakeups", "overlaps"),
    *("network", "clocks", "deployments", "locked", "brokers", "recorded", "state_machine"),
    *("surroundings", "second_database", "replica", "isolation", "sessions", "soft_limit"),
)

django.setup()
for _name in MODULES:
    importlib.import_module(f"chaos.{_name}")
