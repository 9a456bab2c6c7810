"""CloudWatch alarms and the dashboard of a service, as its spec asks for them."""
