"""Nodes of Ray's autoscaler that are processes of this machine.

The head of the cluster loads this module, so it imports nothing of this project.
"""

import tempfile
from functools import partial
from typing import Any
from unittest import mock

from ray._private.parameter import RayParams
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class Machines(FakeMultiNodeProvider):
    """Ray's own provider of such nodes, with a folder for each node: Ray unpacks a job's code once in each folder."""

    def _create_node_with_resources_and_labels(self, *arguments: Any) -> None:
        folder = tempfile.mkdtemp(dir=self.provider_config["folder"])
        with mock.patch("ray._private.parameter.RayParams", partial(RayParams, temp_dir=folder)):
            super()._create_node_with_resources_and_labels(*arguments)  # type: ignore[no-untyped-call]
