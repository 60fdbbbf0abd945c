"""The machinery that the operations share, a folder a subject."""
