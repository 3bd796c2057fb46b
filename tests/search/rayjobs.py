"""What KubeRay and Kubernetes take as a RayJob: KubeRay's fields by hand, the pods by Kubernetes' own schemas.

The fields, their types and their rules are those of KubeRay 1.5 and later: of the CRD (ray-operator/config/crd/bases,
which is made from apis/ray/v1/rayjob_types.go and raycluster_types.go), and what the operator refuses beyond that
(controllers/ray/utils/validation.go). Only what a manifest of ours may use is here, and nothing else passes, so that a
typo is not lost: Kubernetes itself drops unknown fields.
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
    "rayVersion",  # for the token
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
    """Raise where KubeRay or Kubernetes would refuse a manifest, or drop a part of it."""
    jsonschema.validate(manifest, RAY_JOB)
    spec, cluster = manifest["spec"], manifest["spec"]["rayClusterSpec"]
    if spec.get("ttlSecondsAfterFinished") or spec.get("suspend"):
        assert spec.get("shutdownAfterJobFinishes"), "neither without shutdownAfterJobFinishes"
    if cluster.get("authOptions", {}).get("mode") == "token":
        assert Version(cluster["rayVersion"]) >= Version("2.52.0"), "tokens came with Ray 2.52"
    for group in groups(cluster):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": group["template"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        if cluster.get("autoscalerOptions", {}).get("version") == "v2":
            assert group["template"]["spec"].get("restartPolicy", "Never") == "Never", "not with the autoscaler v2"
        assert group.get("minReplicas", 0) <= group.get("replicas", 0) <= group.get("maxReplicas", 2**31 - 1)


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
