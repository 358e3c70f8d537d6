"""Tests with real Celery workers, on Redis and on RabbitMQ."""
