"""What host and container process say to each other, and what both of them do."""
