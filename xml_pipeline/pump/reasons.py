"""Reasons of record: why a message is a dead letter, or a handler failed; readers of a journal know them again."""

LATE = "the handler returned after it was given up"
UNSENT = "its thread had ended before it was sent"
ENDED = "its thread has ended"
NOBODY_WAITS = "nobody outside waits for this error"
NONSENSE = "the handler returned something that cannot be sent"
DIED = "its process ended while it was called"
COLLAPSED = "the engine failed in this conversation"
