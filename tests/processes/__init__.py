"""Tests with several real processes on a real database."""
