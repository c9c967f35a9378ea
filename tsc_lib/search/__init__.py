"""The search for a recipe and a runtime that cost little and keep the accuracy."""
