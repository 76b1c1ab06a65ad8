"""The shop itself: products, orders, payments, and a report over them."""
