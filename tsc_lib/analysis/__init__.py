"""What the tables of a study say: strategies and quantities, claims and their verdicts, findings in words."""
