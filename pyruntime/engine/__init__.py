"""The parts that the operations share: a folder for each subject."""
