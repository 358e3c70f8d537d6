"""Tests that cross distributions, and the settings that all tests share."""
