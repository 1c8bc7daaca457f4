"""Browser sign-in and sessions, as far as they are decisions: no network, disk or framework."""
