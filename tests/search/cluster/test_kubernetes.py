"""The RayJob for Kubernetes: what KubeRay and Kubernetes say of it, and what Ray's autoscaler makes of it."""

import subprocess

import jsonschema
import kubernetes_validate
import pytest
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

from search.study.reading import read_study
from tests.search.clusters import TEXTS, Config, Spoil, added, config_of, drop, options_of, put, rename
from tests.search.rayjobs import check, groups

CLUSTER = "spec.rayClusterSpec"
HEAD, WORKER = f"{CLUSTER}.headGroupSpec", f"{CLUSTER}.workerGroupSpecs.0"
CONTAINER = "template.spec.containers.0"


def ray_cluster() -> Config:
    return dict(config_of("kubernetes")["spec"]["rayClusterSpec"])


def test_kuberay_and_kubernetes_accept_it() -> None:
    check(config_of("kubernetes"))


def test_the_optional_claim_of_the_comments_is_one() -> None:
    manifest = config_of("kubernetes")
    volume = {"name": "studies", "persistentVolumeClaim": {"claimName": "studies"}}
    mount = {"name": "studies", "mountPath": "/mnt/studies"}
    assert "volumes: [{name: studies, persistentVolumeClaim: {claimName: studies}}]" in TEXTS["kubernetes"]
    assert "volumeMounts: [{name: studies, mountPath: /mnt/studies}]" in TEXTS["kubernetes"]
    for group in groups(manifest["spec"]["rayClusterSpec"]):
        group["template"]["spec"]["volumes"] = [volume]
        group["template"]["spec"]["containers"][0]["volumeMounts"] = [mount]
    check(manifest)


def test_rays_autoscaler_reads_gpu_workers_from_none_to_the_maximum_and_a_head_without_trials() -> None:
    resource = {"metadata": {"name": "howcompact", "namespace": "default"}, "spec": ray_cluster()}
    scaling = _derive_autoscaling_config_from_ray_cr(resource)
    assert (scaling["max_workers"], scaling["idle_timeout_minutes"]) == (4, 10)
    head, worker = (scaling["available_node_types"][name] for name in ("headgroup", "gpu"))
    assert (head["resources"]["CPU"], head["max_workers"]) == (0, 0)
    assert (worker["min_workers"], worker["max_workers"]) == (0, 4)
    assert (worker["resources"]["CPU"], worker["resources"]["GPU"]) == (7, 1)
    assert added(scaling, [{"CPU": 1.0, "GPU": 1.0}] * 9) == {"gpu": 4}


def test_the_entrypoint_is_a_run_of_a_shipped_study_that_asks_for_gpus() -> None:
    entrypoint = config_of("kubernetes")["spec"]["entrypoint"]
    assert subprocess.run(["bash", "-n"], input=entrypoint, text=True, check=False).returncode == 0
    assert entrypoint.startswith("howcompact run ")
    given = options_of(entrypoint)
    assert given["address"] == "auto"
    assert given["storage"].startswith("s3://")
    study = read_study(given["study"], given["settings"])
    (worker,) = ray_cluster()["workerGroupSpecs"]
    gpus = worker["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert study.resources.gpus == gpus == 1


def test_both_groups_run_one_image_as_one_account() -> None:
    pods = [group["template"]["spec"] for group in groups(ray_cluster())]
    assert len({pod["serviceAccountName"] for pod in pods}) == 1
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    for pod in pods:
        resources = pod["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]


@pytest.mark.parametrize(
    "spoil",
    [
        put("apiVersion", "ray.io/v1alpha1"),
        put("kind", "RayJobs"),
        put("metadata.name", "How_Compact"),
        rename("spec.entrypoint", "entryPoint"),
        drop(CLUSTER),
        rename("spec.shutdownAfterJobFinishes", "shutdownAfterJobFinish"),
        put("spec.backoffLimit", -1),
        put("spec.activeDeadlineSeconds", 0),
        put("spec.submissionMode", "K8sJob"),
        rename(f"{CLUSTER}.enableInTreeAutoscaling", "enableInTreeAutoScaling"),
        put(f"{CLUSTER}.enableInTreeAutoscaling", "yes"),
        put(f"{CLUSTER}.authOptions.mode", "tokens"),
        drop(f"{CLUSTER}.rayVersion"),
        put(f"{CLUSTER}.rayVersion", "2.51.0"),
        put(f"{CLUSTER}.autoscalerOptions.version", "v3"),
        rename(f"{CLUSTER}.autoscalerOptions.idleTimeoutSeconds", "idleTimeout"),
        put(f"{HEAD}.rayStartParams.num-cpus", 0),
        rename(f"{HEAD}.template", "pod"),
        put(f"{HEAD}.template.spec.restartPolicy", "Always"),
        rename(f"{WORKER}.groupName", "name"),
        put(f"{WORKER}.minReplicas", 5),
        put(f"{WORKER}.maxReplicas", "4"),
        rename(f"{WORKER}.{CONTAINER}.image", "imgae"),
        rename(f"{WORKER}.{CONTAINER}.resources.limits", "limit"),
        put(f"{WORKER}.{CONTAINER}.resources.limits.memory", ["28Gi"]),
        put(f"{WORKER}.template.spec.tolerations", {"key": "nvidia.com/gpu"}),
        rename(f"{WORKER}.template.spec.nodeSelector", "nodeSelectors"),
        put(f"{WORKER}.template.spec.volumes", [{"persistentVolumeClaim": {"claimName": "studies"}}]),
    ],
)
def test_slips_are_refused(spoil: Spoil) -> None:
    manifest = config_of("kubernetes")
    spoil(manifest)
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError, AssertionError)):
        check(manifest)
