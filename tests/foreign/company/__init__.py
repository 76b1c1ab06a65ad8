"""Customers, their orders, and what belongs to them."""
