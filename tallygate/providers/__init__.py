"""Providers of machines: one module each, imported only when asked for."""
