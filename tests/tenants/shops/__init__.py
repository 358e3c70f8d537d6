"""The tenants of the test site with a schema for each, as django-tenants asks for them."""
