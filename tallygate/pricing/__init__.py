"""Pricing: offers, what finishing will cost, and the worst it can cost."""
