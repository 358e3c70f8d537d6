"""Tests of what attackers try, across the distributions."""
