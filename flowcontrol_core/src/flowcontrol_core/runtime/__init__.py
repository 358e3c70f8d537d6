"""The imperative shell: starting, firing, claiming, driving, waking; the only writer of runs."""
