"""Triggers that listen to Django's model and authentication signals."""
