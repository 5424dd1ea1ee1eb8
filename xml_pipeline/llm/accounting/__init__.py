"""Who used how much, what it costs, and what may be spent."""
