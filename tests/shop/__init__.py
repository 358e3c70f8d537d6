"""A small shop: the models that tests run flows on."""
