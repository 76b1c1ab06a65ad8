"""What runs inside Celery's worker."""
