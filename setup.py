"""What pyproject.toml cannot say: folders of the repository that are installed inside the package."""

from setuptools import find_packages, setup

SHIPPED = ("profiles", "notebooks", "docs", "workflow")

setup(
    packages=[*find_packages(include=["tsc_lib*"]), *(f"tsc_lib.{name}" for name in SHIPPED)],
    package_dir={f"tsc_lib.{name}": name for name in SHIPPED},
)
