"""Real processes, killed and frozen: what was accepted must come to one end, and its effect to exactly one."""
