"""A small bookshop: what flows are about."""
