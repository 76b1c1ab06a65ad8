"""What the databases need of us: columns, functions, errors, transactions."""
