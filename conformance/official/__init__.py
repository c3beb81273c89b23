"""The official conformance suite, run against our reference servers and against the hub in front of them."""
