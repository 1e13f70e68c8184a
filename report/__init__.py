"""Build the paper: execute every section, then render what was executed.

Execution first, rendering second with execution off, so that either can be repeated alone.
"""

from report.build import BuildError, build, compare, print_pdf, run_section, status

__all__ = ["BuildError", "build", "compare", "print_pdf", "run_section", "status"]
