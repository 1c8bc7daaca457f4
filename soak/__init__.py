"""Load and faults together: what was acknowledged is in the audit, no job runs twice, memory comes back."""
