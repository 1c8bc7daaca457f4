"""The real things on one machine: Slurm releases and an OpenID provider, on loopback.

Run as ``python -m lab`` with nothing but the standard library, before any virtual environment exists.
"""
