"""What one backend may be asked in a minute, and at once."""
