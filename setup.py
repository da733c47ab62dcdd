"""
The compiled part of Kafscale. All else is declared in setup.cfg, which cannot declare it.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "kafscale.wire._walker",
            ["kafscale/wire/_walker.c"],
            py_limited_api=True,
            optional=True,  # without a compiler its twin in Python takes over
        )
    ]
)
