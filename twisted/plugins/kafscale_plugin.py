"""
Makes ``kafscale`` a command of twistd.
"""

from twisted.application.service import ServiceMaker

kafscale = ServiceMaker(
    "Kafscale",
    "kafscale.tap",
    "A Kafka-compatible broker that stores its log in object storage.",
    "kafscale",
)
