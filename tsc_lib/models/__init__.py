"""The models of the study."""
