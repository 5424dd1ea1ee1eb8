"""From the name of a model to the backend that is asked next."""
