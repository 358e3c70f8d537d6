"""What the tests of projects and plugins use; re-exported by ``flowcontrol.testing``."""
