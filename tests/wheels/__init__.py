"""The built wheels, tested in an empty environment."""
