"""The host side: one module a verb, and what they share."""
