"""What makes triggers fire while an organism runs: timers, and a server for webhooks."""
