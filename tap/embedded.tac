"""
One broker on one machine, as an application for ``twistd -y``:

    twistd -ny tap/embedded.tac

Copy the file and change the settings below. Every option of ``twistd kafscale``
can be added; it takes precedence over the ``KAFSCALE_*`` variable of its name.
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
