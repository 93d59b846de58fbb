"""Billing: from charges to jobs to the journal."""
