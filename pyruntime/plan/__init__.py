"""From a validated configuration to an ordered list of kernel steps. Pure: no file is opened and nothing is changed."""
