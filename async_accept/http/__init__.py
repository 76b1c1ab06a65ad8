"""What a client meets: views, accepting, answers, streams."""
