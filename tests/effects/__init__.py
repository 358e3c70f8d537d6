"""Actions that leave a row for each execution, and that die, stop or kill where a test says so."""
