"""Energy-efficient transformers for time series classification."""

__version__ = "0.1.0"
