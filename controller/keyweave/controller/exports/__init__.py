"""Events on their way out: to syslog, MQTT and webhooks, from one spool on disk."""
