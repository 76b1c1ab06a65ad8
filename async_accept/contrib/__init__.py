"""Adapters to other packages, one module for each, named after it. Nothing in the core imports them."""
