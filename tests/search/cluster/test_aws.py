"""The cluster for AWS, launched by Ray's own code on an EC2 that moto plays."""

import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

from tests.search.clusters import Config, Spoil, added, config_of, prepared, put, rename

HEAD, WORKER = "head", "gpu_worker"
TYPES = "available_node_types"


@pytest.fixture(scope="module", autouse=True)
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An account with the instance profile that the config names, and a home folder for the key that Ray makes."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("HOME", str(home))
        boto3.client("iam").create_instance_profile(InstanceProfileName="howcompact")
        yield


@pytest.fixture(scope="module")
def filled(account: None) -> Config:
    """The config with what EC2 says of the instance types."""
    done: Config = AWSNodeProvider.fillout_available_node_types_resources(prepared(config_of("aws")))
    return done


def launch(config: Config) -> dict[str, dict[str, Any]]:
    """Bootstrap and start a node of each type, as `ray up` and the autoscaler do; return what EC2 has of each."""
    ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
    ready = AWSNodeProvider.bootstrap_config(prepared(config))
    provider = AWSNodeProvider(ready["provider"], config["cluster_name"])
    for name, node in ready[TYPES].items():
        provider.create_node(node["node_config"], {"ray-node-kind": "worker", "ray-user-node-type": name}, 1)
    found = [one for some in ec2.describe_instances()["Reservations"] for one in some["Instances"]]
    return {tag["Value"]: one for one in found for tag in one["Tags"] if tag["Key"] == "ray-user-node-type"}


def test_trials_bring_up_gpu_workers_as_many_as_they_need_and_the_maximum_allows(filled: Config) -> None:
    head, worker = (filled[TYPES][name]["resources"] for name in (HEAD, WORKER))
    assert head["CPU"] == 0
    assert (worker["CPU"], worker["GPU"], worker["accelerator_type:A10G"]) == (8, 1, 1)
    trial = {"CPU": 1.0, "GPU": 1.0}
    assert added(filled, []) == {}
    assert added(filled, [trial] * 2) == {WORKER: 2}
    assert added(filled, [trial] * 9) == {WORKER: filled["max_workers"]}


def test_the_object_store_has_room() -> None:
    config = config_of("aws")
    (gibibytes,) = re.findall(r"--shm-size=(\d+)g", " ".join(config["docker"]["run_options"]))
    ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
    types = [node["node_config"]["InstanceType"] for node in config[TYPES].values()]
    for instance in ec2.describe_instance_types(InstanceTypes=types)["InstanceTypes"]:
        assert int(gibibytes) * 1024 >= 0.3 * instance["MemoryInfo"]["SizeInMiB"]  # Ray takes 30 %


def test_an_instance_type_that_nobody_rents_is_refused() -> None:
    config = config_of("aws")
    put(f"{TYPES}.{WORKER}.node_config.InstanceType", "g5.nonsense")(config)
    with pytest.raises(ValueError, match=r"g5\.nonsense is not available"):
        AWSNodeProvider.fillout_available_node_types_resources(prepared(config))


def test_nodes_start_as_the_config_says_workers_on_spot() -> None:
    config = config_of("aws")
    nodes = launch(config)
    assert set(nodes) == {HEAD, WORKER}
    for name, node in nodes.items():
        wanted = config[TYPES][name]["node_config"]
        assert (node["InstanceType"], node["ImageId"]) == (wanted["InstanceType"], wanted["ImageId"])
        assert node["IamInstanceProfile"]["Arn"].endswith("/howcompact")
        (disk,) = node["BlockDeviceMappings"]
        assert disk["DeviceName"] == wanted["BlockDeviceMappings"][0]["DeviceName"]
    assert nodes[WORKER]["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in nodes[HEAD]


def test_the_network_lets_in_ssh_and_nodes_of_the_cluster_and_nothing_else() -> None:
    config = config_of("aws")
    node = launch(config)[HEAD]
    ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
    groups = [group["GroupId"] for group in node["SecurityGroups"]]
    for group in ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]:
        for rule in group["IpPermissions"]:
            if rule["IpRanges"]:
                assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
            assert {pair["GroupId"] for pair in rule["UserIdGroupPairs"]} <= set(groups)


@pytest.mark.parametrize(
    "spoil",
    [
        put("provider.region", "us-wset-2"),
        put(f"{TYPES}.{WORKER}.node_config.IamInstanceProfile", {"Name": "nobody"}),
        rename(f"{TYPES}.{WORKER}.node_config.InstanceMarketOptions", "MarketOptions"),
        rename(f"{TYPES}.{WORKER}.node_config.InstanceMarketOptions.MarketType", "Market"),
        rename(f"{TYPES}.{HEAD}.node_config.ImageId", "ImagId"),
        put(f"{TYPES}.{HEAD}.node_config.BlockDeviceMappings", [{"DeviceName": "/dev/sda1", "Ebs": {"Size": 200}}]),
    ],
)
def test_slips_that_the_schema_lets_pass_are_refused(spoil: Spoil) -> None:
    config = config_of("aws")
    spoil(config)
    with pytest.raises(Exception):  # noqa: B017, PT011  of Ray, of botocore
        launch(config)
