"""Signed tokens: text -> strict form -> verified claims -> Identity. Pure; no clock, no network, no disk."""
