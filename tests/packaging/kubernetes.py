"""Runs the DaemonSet's container in docker, with the same arguments, variables, mounts, user and rights. For kubernetes.sh."""

import base64
import json
import os
import re
import subprocess
import sys

import yaml

work = sys.argv[1]


def documents(name):
    with open(f"{work}/{name}.yaml") as file:
        return list(yaml.safe_load_all(file))


def agent(name):
    """The container, its pod, the variables of its ConfigMap, and the files of its Secret."""
    found = {each["kind"]: each for each in documents(name)}
    pod = found["DaemonSet"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    settings = dict(found.get("ConfigMap", {}).get("data", {}))
    secret = found.get("Secret", {}).get("data", {})
    if "ConfigMap" in found:
        assert container["envFrom"][0]["configMapRef"]["name"] == found["ConfigMap"]["metadata"]["name"]
    return container, pod, settings, secret


def run(arguments, *program):
    done = subprocess.run(["docker", "run", "--rm", *arguments, "heka-insights-agent", *program], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"docker run ended with {done.returncode}: {done.stderr}")
    return done.stdout, done.stderr


def rights(container, pod, settings, secret, network="none"):
    """The manifest as arguments of docker."""
    assert not any(pod.get(key) for key in ("hostPID", "hostNetwork", "hostIPC")), "a host namespace is shared"
    user, own = pod["securityContext"], container["securityContext"]
    # Docker applies its default seccomp profile without an argument. RuntimeDefault is this profile.
    assert user["runAsNonRoot"] and user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not own["allowPrivilegeEscalation"] and own["readOnlyRootFilesystem"]
    arguments = ["--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--read-only", f"--network={network}"]
    arguments += ["--security-opt=no-new-privileges:true"]
    arguments += [f"--cap-drop={each}" for each in own["capabilities"]["drop"]]
    arguments += [f"--memory={container['resources']['limits']['memory'].removesuffix('i').lower()}"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "hostPath" in volume:
            assert mount["readOnly"] and mount["mountPropagation"] == "HostToContainer"
            arguments += ["--volume", f"{volume['hostPath']['path']}:{mount['mountPath']}:ro,rslave"]
        elif "emptyDir" in volume:
            # The kubelet makes the pod's fsGroup the group of the directory.
            source = f"{work}/outbox"
            os.makedirs(source, exist_ok=True)
            os.chown(source, 0, user["fsGroup"])
            os.chmod(source, 0o2777)
            arguments += ["--volume", f"{source}:{mount['mountPath']}"]
        elif "secret" in volume:
            source = f"{work}/secret"
            os.makedirs(source, exist_ok=True)
            for key, value in secret.items():
                with open(f"{source}/{key}", "wb") as file:
                    file.write(base64.b64decode(value))
                os.chown(file.name, 0, user["fsGroup"])
                os.chmod(file.name, volume["secret"]["defaultMode"])
            arguments += ["--volume", f"{source}:{mount['mountPath']}:ro"]
    for name, value in {**settings, "NODE_NAME": "node-1"}.items():
        arguments += ["--env", f"{name}={value}"]
    return arguments


text, _ = run([], "--help")
for name in ("base", "vendor"):
    container, pod, settings, _ = agent(name)
    for flag in (each.split("=")[0] for each in container["args"]):
        assert re.search(rf"^ +{flag}\b", text, re.MULTILINE), f"{flag} is not in --help"
    for variable in settings:
        known = variable in text or variable.replace("OTLP_", "OTLP_[METRICS_]") in text
        assert known, f"{variable} is not in --help"

# The Collector's name in the cluster is resolved to the Collector that kubernetes.sh started in the engine's network.
for name in ("base", "chart"):
    container, *rest = agent(name)
    arguments = rights(container, *rest, network="host") + ["--add-host", "otel-collector.observability:127.0.0.1"]
    out, _ = run(arguments, "check", *[each.replace("$(NODE_NAME)", "node-1") for each in container["args"]])
    assert re.search(r"ENDPOINT +ok +http://otel-collector.observability:4317", out), out
    print(f"kubernetes: ok, check ends with 0 against a Collector in a container of the {name}")

container, *rest = agent("base")
given = [each.replace("$(NODE_NAME)", "node-1") for each in container["args"]]
out, log = run(rights(container, *rest), *given, "--exporter=console", "--console-format=json", "--once")
seen = json.loads(out)


def series(collector, metric):
    return seen[collector][metric]["series"]


with open("/proc/meminfo") as file:
    memory = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemTotal:"))
with open("/proc/1/net/dev") as file:
    interfaces = {line.split(":")[0].strip() for line in file if ":" in line}
with open("/etc/hostname") as file:
    host = file.read().strip()
processes = sum(name.isdigit() for name in os.listdir("/proc"))
network = {each["attributes"]["network.interface.name"] for each in series("network", "system.network.io")}
mounts = {each["attributes"]["system.filesystem.mountpoint"] for each in series("filesystem", "system.filesystem.usage")}
checks = {
    "the host's name": seen["host"] == host,
    "all of the host's memory": series("memory", "system.memory.limit")[0]["value"] == memory,
    "the host's processes": sum(each["value"] for each in series("processes", "system.process.count")) > 0.5 * processes,
    "the host's interfaces": bool(network) and network <= interfaces,
    "the host's root file system": "/" in mounts and not any(mount.startswith("/host") for mount in mounts),
    "nothing failed": not re.search(r"\b(WARN|ERROR)\b", log),
}

# Without a network nothing can be delivered, so the collection must be in the outbox, which the pod's user must be able to write.
subprocess.run(
    ["docker", "run", "--rm", *rights(container, *rest), "heka-insights-agent", *given, "--once"],
    capture_output=True, text=True)
kept = [file for file in os.listdir(f"{work}/outbox") if os.path.getsize(f"{work}/outbox/{file}") > 1000]
checks["an outbox that it can write"] = bool(kept)
with open(f"{work}/outbox/{kept[0]}" if kept else os.devnull, "rb") as file:
    checks["the node's name in the undelivered batch"] = b"k8s.node.name\x12\x08\n\x06node-1" in file.read()

# If the user cannot read the headers file, the program reports this and exits before it tries the endpoint.
container, *rest = agent("vendor")
with_key = subprocess.run(
    ["docker", "run", "--rm", *rights(container, *rest), "heka-insights-agent", "check"], capture_output=True, text=True)
checks["a headers file that it can read"] = "ENDPOINT     failed       https://otlp.example" in with_key.stdout

for what, good in checks.items():
    print("kubernetes:", "ok" if good else "WRONG", what)
if not all(checks.values()):
    sys.exit(f"{log}\n{sorted(os.listdir(work + '/outbox'))}")
