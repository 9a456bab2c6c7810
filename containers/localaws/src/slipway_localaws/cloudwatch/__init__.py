"""CloudWatch metrics and alarms in the place of moto's, which lacks percentiles, metric math and evaluation."""
