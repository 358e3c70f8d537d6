"""The plainest Flowcontrol plugin: one action, no models."""
