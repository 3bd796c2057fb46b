"""The YAML files that come with the package: studies and cluster configs."""

from importlib import resources


def yaml_files(folder: str) -> dict[str, str]:
    """Read the YAML files of one folder of the package, "studies" or "clusters": name -> text."""
    files = (resources.files("search") / folder).iterdir()
    return {file.name.removesuffix(".yaml"): file.read_text() for file in files if file.name.endswith(".yaml")}
