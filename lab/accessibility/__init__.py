"""axe-core, the checker of web pages for accessibility, as one locked npm package."""

from lab.accessibility.axe import axe_script

__all__ = ["axe_script"]
