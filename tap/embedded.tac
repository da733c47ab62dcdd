"""
One broker on one machine, as an application for ``twistd -y``:

    twistd -ny tap/embedded.tac

The settings below are those that differ from their defaults; any other may be
added, and a ``KAFSCALE_*`` variable counts where none is given here.
"""

from kafscale.tap import Options, makeService
from twisted.application.service import Application

options = Options()
options.parseOptions(
    [
        "--broker-addr", "127.0.0.1:9092",
        "--data-dir", "./kafscale-data",
    ]
)  # fmt: skip

application = Application("kafscale")
makeService(options).setServiceParent(application)
