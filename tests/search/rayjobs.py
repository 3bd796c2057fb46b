"""Checks that KubeRay and Kubernetes accept a RayJob: KubeRay's fields by hand, pods by Kubernetes' own schemas.

The fields, their types and their rules are those of KubeRay 1.5 and later. They come from the CRD
(ray-operator/config/crd/bases, generated from apis/ray/v1/rayjob_types.go and raycluster_types.go) and from the
operator's further checks (controllers/ray/utils/validation.go). Only the fields that our manifests may use are here.
All others are refused, to find typing errors: Kubernetes itself drops unknown fields.
"""

from typing import Any

import jsonschema
import kubernetes_validate
from packaging.version import Version

KUBERNETES = kubernetes_validate.latest_version()
TEXT = {"type": "string", "minLength": 1}
WHOLE = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = {"type": "object"}  # left to Kubernetes' schemas


def _object(*required: str, **fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": fields, "additionalProperties": False}


GROUP = {"rayStartParams": TEXTS, "template": POD}
CLUSTER = _object(
    "headGroupSpec",
    "rayVersion",  # needed to check the token
    rayVersion=TEXT,
    authOptions=_object(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=_object(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=WHOLE,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    ),
    headGroupSpec=_object("template", **GROUP, serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}),
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            "groupName",
            "template",
            **GROUP,
            groupName=TEXT,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            numOfHosts=WHOLE,
            idleTimeoutSeconds=WHOLE,
        ),
    },
)
RAY_JOB = _object(
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_object(
        "name",
        name={"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47},
        namespace=TEXT,
        labels=TEXTS,
        annotations=TEXTS,
    ),
    spec=_object(
        "rayClusterSpec",
        entrypoint=TEXT,
        runtimeEnvYAML=TEXT,
        jobId=TEXT,
        metadata=TEXTS,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=WHOLE,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        backoffLimit=WHOLE,
        suspend=FLAG,
        rayClusterSpec=CLUSTER,
    ),
)


def check(manifest: dict[str, Any]) -> None:
    """Raise if KubeRay or Kubernetes refuses this manifest or drops a part of it."""
    jsonschema.validate(manifest, RAY_JOB)
    spec, cluster = manifest["spec"], manifest["spec"]["rayClusterSpec"]
    if spec.get("ttlSecondsAfterFinished") or spec.get("suspend"):
        assert spec.get("shutdownAfterJobFinishes"), "ttlSecondsAfterFinished and suspend need shutdownAfterJobFinishes"
    if cluster.get("authOptions", {}).get("mode") == "token":
        assert Version(cluster["rayVersion"]) >= Version("2.52.0"), "tokens came with Ray 2.52"
    for group in groups(cluster):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        if cluster.get("autoscalerOptions", {}).get("version") == "v2":
            assert group["template"]["spec"].get("restartPolicy", "Never") == "Never", (
                "the autoscaler v2 needs restartPolicy Never"
            )
        assert group.get("minReplicas", 0) <= group.get("replicas", 0) <= group.get("maxReplicas", 2**31 - 1)


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
