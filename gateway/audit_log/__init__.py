"""Lines and files of the audit -> what they prove, who did what, and how often. Needs no server."""
