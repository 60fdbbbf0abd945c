"""What every floor may use: errors, log, JSON, signals, and what replaces slow parts of the standard library."""
