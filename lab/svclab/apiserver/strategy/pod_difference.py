"""How the API server shows what differs between two pod specs: as JSON of its internal structs, as a unified diff.

`difference` takes specs as the API has them. The table names the internal structs' fields in their order (drawn from
Kubernetes v1.36.3): the name, `:` or `*` for a pointer, the type as in `shapes`; `=` is shown as the API has it.
"""

from __future__ import annotations

import difflib
import json
from functools import cache
from typing import Any

from svclab.apiserver.strategy.metadata import Body

# Fields of a pod's spec that the internal structs keep in its security context.
MOVED = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
ZERO: dict[str, Any] = {"s": "", "i": 0, "b": False, "q": "0", "p": 0}
FIELDS = {
    "Affinity": "NodeAffinity*NodeAffinity PodAffinity*PodAffinity PodAntiAffinity*PodAntiAffinity",
    "AppArmorProfile": "Type:s LocalhostProfile*s",
    "Capabilities": "Add:[s Drop:[s",
    "ConfigMapEnvSource": "Name:s Optional*b",
    "ConfigMapKeySelector": "Name:s Key:s Optional*b",
    "ConfigMapProjection": "Name:s Items:[KeyToPath Optional*b",
    "ConfigMapVolumeSource": "Name:s Items:[KeyToPath DefaultMode*i Optional*b",
    "Container": (
        "Name:s Image:s Command:[s Args:[s WorkingDir:s Ports:[ContainerPort EnvFrom:[EnvFromSource "
        "Env:[EnvVar Resources:ResourceRequirements ResizePolicy:[ContainerResizePolicy RestartPolicy*s "
        "RestartPolicyRules:[ContainerRestartRule VolumeMounts:[VolumeMount VolumeDevices:[VolumeDevice "
        "LivenessProbe*Probe ReadinessProbe*Probe StartupProbe*Probe Lifecycle*Lifecycle "
        "TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s "
        "SecurityContext*SecurityContext Stdin:b StdinOnce:b TTY:b"
    ),
    "ContainerPort": "Name:s HostPort:i ContainerPort:i Protocol:s HostIP:s",
    "ContainerResizePolicy": "ResourceName:s RestartPolicy:s",
    "ContainerRestartRule": "Action:s ExitCodes*ContainerRestartRuleOnExitCodes",
    "ContainerRestartRuleOnExitCodes": "Operator:s Values:[i",
    "DownwardAPIProjection": "Items:[DownwardAPIVolumeFile",
    "DownwardAPIVolumeFile": "Path:s FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector Mode*i",
    "DownwardAPIVolumeSource": "Items:[DownwardAPIVolumeFile DefaultMode*i",
    "EmptyDirVolumeSource": "Medium:s SizeLimit*q",
    "EnvFromSource": "Prefix:s ConfigMapRef*ConfigMapEnvSource SecretRef*SecretEnvSource",
    "EnvVar": "Name:s Value:s ValueFrom*EnvVarSource",
    "EnvVarSource": (
        "FieldRef*ObjectFieldSelector ResourceFieldRef*ResourceFieldSelector "
        "ConfigMapKeyRef*ConfigMapKeySelector SecretKeyRef*SecretKeySelector FileKeyRef*FileKeySelector"
    ),
    "EphemeralContainer": (
        "Name:s Image:s Command:[s Args:[s WorkingDir:s Ports:[ContainerPort EnvFrom:[EnvFromSource "
        "Env:[EnvVar Resources:ResourceRequirements ResizePolicy:[ContainerResizePolicy RestartPolicy*s "
        "RestartPolicyRules:[ContainerRestartRule VolumeMounts:[VolumeMount VolumeDevices:[VolumeDevice "
        "LivenessProbe*Probe ReadinessProbe*Probe StartupProbe*Probe Lifecycle*Lifecycle "
        "TerminationMessagePath:s TerminationMessagePolicy:s ImagePullPolicy:s "
        "SecurityContext*SecurityContext Stdin:b StdinOnce:b TTY:b TargetContainerName:s"
    ),
    "ExecAction": "Command:[s",
    "FileKeySelector": "VolumeName:s Path:s Key:s Optional*b",
    "GRPCAction": "Port:i Service*s",
    "HTTPGetAction": "Path:s Port:p Host:s Scheme:s HTTPHeaders:[HTTPHeader",
    "HTTPHeader": "Name:s Value:s",
    "HostAlias": "IP:s Hostnames:[s",
    "HostPathVolumeSource": "Path:s Type*s",
    "ImageVolumeSource": "Reference:s PullPolicy:s",
    "KeyToPath": "Key:s Path:s Mode*i",
    "Lifecycle": "PostStart*LifecycleHandler PreStop*LifecycleHandler StopSignal*s",
    "LifecycleHandler": "Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction Sleep*SleepAction",
    "LocalObjectReference": "Name:s",
    "NFSVolumeSource": "Server:s Path:s ReadOnly:b",
    "NodeAffinity": (
        "RequiredDuringSchedulingIgnoredDuringExecution*NodeSelector "
        "PreferredDuringSchedulingIgnoredDuringExecution:[PreferredSchedulingTerm"
    ),
    "NodeSelector": "NodeSelectorTerms:[NodeSelectorTerm",
    "NodeSelectorRequirement": "Key:s Operator:s Values:[s",
    "NodeSelectorTerm": "MatchExpressions:[NodeSelectorRequirement MatchFields:[NodeSelectorRequirement",
    "ObjectFieldSelector": "APIVersion:s FieldPath:s",
    "PersistentVolumeClaimVolumeSource": "ClaimName:s ReadOnly:b",
    "PodAffinity": (
        "RequiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm "
        "PreferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm"
    ),
    "PodAffinityTerm": (
        "LabelSelector*= Namespaces:[s TopologyKey:s NamespaceSelector*= MatchLabelKeys:[s MismatchLabelKeys:[s"
    ),
    "PodAntiAffinity": (
        "RequiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm "
        "PreferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm"
    ),
    "PodDNSConfig": "Nameservers:[s Searches:[s Options:[PodDNSConfigOption",
    "PodDNSConfigOption": "Name:s Value*s",
    "PodOS": "Name:s",
    "PodReadinessGate": "ConditionType:s",
    "PodResourceClaim": "Name:s ResourceClaimName*s ResourceClaimTemplateName*s",
    "PodSchedulingGate": "Name:s",
    "PodSchedulingGroup": "PodGroupName*s",
    "PodSecurityContext": (
        "HostNetwork:b HostPID:b HostIPC:b ShareProcessNamespace*b HostUsers*b "
        "SELinuxOptions*SELinuxOptions WindowsOptions*= RunAsUser*i RunAsGroup*i RunAsNonRoot*b "
        "SupplementalGroups:[i SupplementalGroupsPolicy*s FSGroup*i FSGroupChangePolicy*s Sysctls:[Sysctl "
        "SeccompProfile*SeccompProfile AppArmorProfile*AppArmorProfile SELinuxChangePolicy*s"
    ),
    "PodSpec": (
        "Volumes:[Volume InitContainers:[Container Containers:[Container "
        "EphemeralContainers:[EphemeralContainer RestartPolicy:s TerminationGracePeriodSeconds*i "
        "ActiveDeadlineSeconds*i DNSPolicy:s NodeSelector:{s ServiceAccountName:s "
        "AutomountServiceAccountToken*b NodeName:s SecurityContext*PodSecurityContext "
        "ImagePullSecrets:[LocalObjectReference Hostname:s Subdomain:s SetHostnameAsFQDN*b "
        "Affinity*Affinity SchedulerName:s Tolerations:[Toleration HostAliases:[HostAlias "
        "PriorityClassName:s Priority*i PreemptionPolicy*s DNSConfig*PodDNSConfig "
        "ReadinessGates:[PodReadinessGate RuntimeClassName*s Overhead:{q EnableServiceLinks*b "
        "TopologySpreadConstraints:[TopologySpreadConstraint OS*PodOS SchedulingGates:[PodSchedulingGate "
        "ResourceClaims:[PodResourceClaim Resources*ResourceRequirements HostnameOverride*s "
        "SchedulingGroup*PodSchedulingGroup"
    ),
    "PreferredSchedulingTerm": "Weight:i Preference:NodeSelectorTerm",
    "Probe": (
        "Exec*ExecAction HTTPGet*HTTPGetAction TCPSocket*TCPSocketAction GRPC*GRPCAction "
        "InitialDelaySeconds:i TimeoutSeconds:i PeriodSeconds:i SuccessThreshold:i FailureThreshold:i "
        "TerminationGracePeriodSeconds*i"
    ),
    "ProjectedVolumeSource": "Sources:[VolumeProjection DefaultMode*i",
    "ResourceClaim": "Name:s Request:s",
    "ResourceFieldSelector": "ContainerName:s Resource:s Divisor:q",
    "ResourceRequirements": "Limits:{q Requests:{q Claims:[ResourceClaim",
    "SELinuxOptions": "User:s Role:s Type:s Level:s",
    "SeccompProfile": "Type:s LocalhostProfile*s",
    "SecretEnvSource": "Name:s Optional*b",
    "SecretKeySelector": "Name:s Key:s Optional*b",
    "SecretProjection": "Name:s Items:[KeyToPath Optional*b",
    "SecretVolumeSource": "SecretName:s Items:[KeyToPath DefaultMode*i Optional*b",
    "SecurityContext": (
        "Capabilities*Capabilities Privileged*b SELinuxOptions*SELinuxOptions WindowsOptions*= "
        "RunAsUser*i RunAsGroup*i RunAsNonRoot*b ReadOnlyRootFilesystem*b AllowPrivilegeEscalation*b "
        "ProcMount*s SeccompProfile*SeccompProfile AppArmorProfile*AppArmorProfile"
    ),
    "ServiceAccountTokenProjection": "Audience:s ExpirationSeconds:i Path:s",
    "SleepAction": "Seconds:i",
    "Sysctl": "Name:s Value:s",
    "TCPSocketAction": "Port:p Host:s",
    "Toleration": "Key:s Operator:s Value:s Effect:s TolerationSeconds*i",
    "TopologySpreadConstraint": (
        "MaxSkew:i TopologyKey:s WhenUnsatisfiable:s LabelSelector*= MinDomains*i NodeAffinityPolicy*s "
        "NodeTaintsPolicy*s MatchLabelKeys:[s"
    ),
    "Volume": (
        "Name:s HostPath*HostPathVolumeSource EmptyDir*EmptyDirVolumeSource GCEPersistentDisk*= "
        "AWSElasticBlockStore*= GitRepo*= Secret*SecretVolumeSource NFS*NFSVolumeSource ISCSI*= "
        "Glusterfs*= PersistentVolumeClaim*PersistentVolumeClaimVolumeSource RBD*= Quobyte*= FlexVolume*= "
        "Cinder*= CephFS*= Flocker*= DownwardAPI*DownwardAPIVolumeSource FC*= AzureFile*= "
        "ConfigMap*ConfigMapVolumeSource VsphereVolume*= AzureDisk*= PhotonPersistentDisk*= "
        "Projected*ProjectedVolumeSource PortworxVolume*= ScaleIO*= StorageOS*= CSI*= Ephemeral*= "
        "Image*ImageVolumeSource"
    ),
    "VolumeDevice": "Name:s DevicePath:s",
    "VolumeMount": "Name:s ReadOnly:b RecursiveReadOnly*s MountPath:s SubPath:s MountPropagation*s SubPathExpr:s",
    "VolumeProjection": (
        "Secret*SecretProjection DownwardAPI*DownwardAPIProjection ConfigMap*ConfigMapProjection "
        "ServiceAccountToken*ServiceAccountTokenProjection ClusterTrustBundle*= PodCertificate*="
    ),
    "WeightedPodAffinityTerm": "Weight:i PodAffinityTerm:PodAffinityTerm",
}


def difference(old: Body, new: Body) -> str:
    """The lines that differ, with three around them; empty if the internal structs are the same."""
    before, after = _lines(old), _lines(new)
    return "".join(list(difflib.unified_diff(before, after, n=3))[2:])


def _lines(spec: Body) -> list[str]:
    context = {**(spec.get("securityContext") or {}), **{name: spec[name] for name in MOVED if name in spec}}
    shown = _struct("PodSpec", {**spec, "securityContext": context})
    text = json.dumps(shown, indent=1, ensure_ascii=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return [line + "\n" for line in text.split("\n")]


@cache
def _fields(kind: str) -> tuple[tuple[str, bool, str], ...]:
    """Name, is it a pointer, type."""
    fields = []
    for field in FIELDS[kind].split():
        position = next(index for index, sign in enumerate(field) if sign in ":*")
        fields.append((field[:position], field[position] == "*", field[position + 1 :]))
    return tuple(fields)


def _struct(kind: str, value: Body) -> Body:
    given = {name.lower(): each for name, each in value.items()}
    return {name: _shown(written, given.get(name.lower()), pointer) for name, pointer, written in _fields(kind)}


def _shown(written: str, value: Any, pointer: bool = False) -> Any:
    if value is None:
        if pointer or written[0] in "[{=t":
            return None
        return ZERO[written] if written in ZERO else _struct(written, {})
    if written[0] == "[":
        return [_shown(written[1:], each) for each in value] or None
    if written[0] == "{":
        return {key: _shown(written[1:], each) for key, each in sorted(value.items())} or None
    return _struct(written, value) if written in FIELDS else value
