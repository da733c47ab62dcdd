"""
The compiled part of Kafscale. All else is declared in setup.cfg, which cannot declare it.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            name,
            [f"{name.replace('.', '/')}.c"],
            py_limited_api=True,
            optional=True,  # without a compiler its twin in Python takes over
        )
        for name in ("kafscale.wire._walker", "kafscale.store.local._creator")
    ]
)
