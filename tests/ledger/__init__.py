"""An app with migrations, for the tests of what happens before they are applied."""
