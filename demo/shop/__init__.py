"""A small bookshop with customers, orders and vouchers."""
