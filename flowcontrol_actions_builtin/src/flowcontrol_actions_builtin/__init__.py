"""The built-in actions of Flowcontrol."""
