"""The search for a recipe and a runtime that cost little and keep the accuracy."""

from tsc_lib.search.optimize import Outcome, optimize
from tsc_lib.search.results import searches

__all__ = ["Outcome", "optimize", "searches"]
