"""What every floor may use: errors, log, JSON, signals, and what replaces slow parts of the standard library."""

import pyruntime

pyruntime.load_lazily(__name__)
