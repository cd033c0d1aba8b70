"""Baton keeps a tabular model good after it has shipped."""

__version__ = "0.1.0"
