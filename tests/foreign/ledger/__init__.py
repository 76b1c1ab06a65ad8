"""The books, in a database of their own."""
