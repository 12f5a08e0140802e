"""Rates with intervals, paired differences, and corrections for looking often."""
