"""Sites that serve several tenants: a schema for each, or a database for each."""
