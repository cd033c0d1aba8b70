"""In-memory stand-ins for the ports, for tests and examples."""
