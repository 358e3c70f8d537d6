"""The fault campaign: the promises of the engine under kill -9, lost commits and other failures.

``python -m chaos`` runs it and prints a table; docs/reference/fault-report.md is such a table.
"""
