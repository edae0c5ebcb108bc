"""The review questions, answered from the evidence."""
