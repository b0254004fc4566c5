"""Measures armada-agent beside a stock `celery worker`: see README.md."""
