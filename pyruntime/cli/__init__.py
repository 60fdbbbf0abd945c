"""The command line: it parses arguments and prints results. Nothing else imports it."""
