"""S3 where moto's answers differ from AWS: integrity of uploads, conditional requests, notifications."""
