"""Requests in MLflow's forms, read straight into arrays.

Only what needs no interpretation is read here: the right columns, every value of the column's own kind. Everything else
raises ``NotCoveredError`` and goes to MLflow's own parser, so that its rules (casts, dates, base64, odd shapes) hold.
"""
