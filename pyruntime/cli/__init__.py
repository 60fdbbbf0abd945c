"""The command line: words in, words out. Nothing else imports it."""
