"""Judges the files that deploy Hookrill by the schemas of those who read them.

Run in the project's folder. Prints one JSON object: `problems`, what a schema
or a linter says, and `documents`, what the YAML files hold. Downloads nothing:
the schemas are in the packages that `scripts/test` installs.
"""

import copy
import json
import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml

BIN = pathlib.Path(sys.executable).parent
problems = []
documents = {}


def read(path):
    text = pathlib.Path(path).read_text(encoding="utf-8")
    documents[str(path)] = list(yaml.safe_load_all(text))
    return documents[str(path)]


def run(*command):
    """A program of the same environment, which judges by its exit status."""
    done = subprocess.run(
        [BIN / command[0], *command[1:]], capture_output=True, text=True, check=False
    )
    if done.returncode:
        problems.append(f"{command}: {done.stdout}{done.stderr}")


def kubernetes(path, resource):
    """Strictly: a key that the schema does not know is a problem."""
    try:
        kubernetes_validate.validate(resource, "1.37", strict=True)
    except Exception as error:  # Whatever it is, the file is not approved.
        where = "/".join(map(str, getattr(error, "absolute_path", [])))
        problems.append(f"{path}: {where}: {getattr(error, 'message', error)}")


def pod_of_cloud_run(service):
    """What Cloud Run's Service has in common with a pod of Kubernetes."""
    spec = copy.deepcopy(service["spec"]["template"]["spec"])
    # Knative's own, checked by the caller.
    spec.pop("containerConcurrency")
    spec.pop("timeoutSeconds")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": service["metadata"], "spec": spec}


run("hadolint", "Dockerfile")
read("compose.yaml")
run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
for path in sorted(pathlib.Path("deploy/kubernetes").glob("*.yaml")):
    for resource in read(path):
        kubernetes(path, resource)
[service] = read("deploy/cloud-run.yaml")
kubernetes("deploy/cloud-run.yaml", pod_of_cloud_run(service))
read("deploy/render.yaml")
print(json.dumps({"problems": problems, "documents": documents}))
