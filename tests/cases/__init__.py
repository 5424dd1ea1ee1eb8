"""Cases of `tests:`: what they say, how they run, how they are recorded."""
