"""A site whose runs are in a database of their own, apart from users, types and objects."""
