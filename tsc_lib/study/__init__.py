"""A whole study: what a profile asks for, run or loaded, as tidy tables."""

from tsc_lib.study.study import Study

__all__ = ["Study"]
