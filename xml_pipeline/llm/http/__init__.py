"""What every backend shares on its way over HTTP: connections, frames, errors, secrets."""
