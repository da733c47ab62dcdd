"""
``twistd kafscale``.
"""

from twisted.application.service import ServiceMaker

kafscale = ServiceMaker(
    "Kafscale", "kafscale.tap", "A Kafka-compatible broker on an object store.", "kafscale"
)
