"""The command line: it parses arguments and prints results. Nothing else imports it."""

import pyruntime

pyruntime.load_lazily(__name__)
