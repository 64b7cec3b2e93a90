"""Which fields the API's objects have, and what Go writes when they are empty: drawn from Kubernetes v1.36.3.

A type is its fields, separated by spaces: the JSON name, one mark, the type. Marks: `?` left out when empty (of a
struct or a time: never, Go writes `{}` or `null`), `~` left out when empty in every case, `*` a pointer (left out
only when absent), `+` a pointer that is written as null when absent, `:` always written. Types: s string, i integer,
b bool, q quantity, t time, u time with microseconds, p integer or string, y bytes in base64, r anything; `[T`
list of T, `{T` map from string to T; everything else names a type in this table.
"""

from __future__ import annotations

FIELDS = {
    "AWSElasticBlockStoreVolumeSource": "volumeID:s fsType?s partition?i readOnly?b",
    "Affinity": "nodeAffinity*NodeAffinity podAffinity*PodAffinity podAntiAffinity*PodAntiAffinity",
    "AppArmorProfile": "type:s localhostProfile*s",
    "AttachedVolume": "name:s devicePath:s",
    "AzureDiskVolumeSource": "diskName:s diskURI:s cachingMode*s fsType*s readOnly*b kind*s",
    "AzureFileVolumeSource": "secretName:s shareName:s readOnly?b",
    "Binding": "kind?s apiVersion?s metadata?ObjectMeta target:ObjectReference",
    "CSIVolumeSource": ("driver:s readOnly*b fsType*s volumeAttributes?{s nodePublishSecretRef*LocalObjectReference"),
    "Capabilities": "add?[s drop?[s",
    "CephFSVolumeSource": "monitors:[s path?s user?s secretFile?s secretRef*LocalObjectReference readOnly?b",
    "CinderVolumeSource": "volumeID:s fsType?s readOnly?b secretRef*LocalObjectReference",
    "ClientIPConfig": "timeoutSeconds*i",
    "ClusterTrustBundleProjection": "name*s signerName*s labelSelector*LabelSelector optional*b path:s",
    "Condition": "type:s status:s observedGeneration?i lastTransitionTime:t reason:s message:s",
    "ConfigMap": "kind?s apiVersion?s metadata?ObjectMeta immutable*b data?{s binaryData?{y",
    "ConfigMapEnvSource": "name?s optional*b",
    "ConfigMapKeySelector": "name?s key:s optional*b",
    "ConfigMapNodeConfigSource": "namespace:s name:s uid?s resourceVersion?s kubeletConfigKey:s",
    "ConfigMapProjection": "name?s items?[KeyToPath optional*b",
    "ConfigMapVolumeSource": "name?s items?[KeyToPath defaultMode*i optional*b",
    "Container": (
        "name:s image?s command?[s args?[s workingDir?s ports?[ContainerPort envFrom?[EnvFromSource "
        "env?[EnvVar resources?ResourceRequirements resizePolicy?[ContainerResizePolicy restartPolicy*s "
        "restartPolicyRules?[ContainerRestartRule volumeMounts?[VolumeMount volumeDevices?[VolumeDevice "
        "livenessProbe*Probe readinessProbe*Probe startupProbe*Probe lifecycle*Lifecycle "
        "terminationMessagePath?s terminationMessagePolicy?s imagePullPolicy?s "
        "securityContext*SecurityContext stdin?b stdinOnce?b tty?b"
    ),
    "ContainerExtendedResourceRequest": "containerName:s resourceName:s requestName:s",
    "ContainerImage": "names:[s sizeBytes?i",
    "ContainerPort": "name?s hostPort?i containerPort:i protocol?s hostIP?s",
    "ContainerResizePolicy": "resourceName:s restartPolicy:s",
    "ContainerRestartRule": "action?s exitCodes*ContainerRestartRuleOnExitCodes",
    "ContainerRestartRuleOnExitCodes": "operator?s values?[i",
    "ContainerState": (
        "waiting*ContainerStateWaiting running*ContainerStateRunning terminated*ContainerStateTerminated"
    ),
    "ContainerStateRunning": "startedAt?t",
    "ContainerStateTerminated": "exitCode:i signal?i reason?s message?s startedAt?t finishedAt?t containerID?s",
    "ContainerStateWaiting": "reason?s message?s",
    "ContainerStatus": (
        "name:s state?ContainerState lastState?ContainerState ready:b restartCount:i image:s imageID:s "
        "containerID?s started*b allocatedResources?{q resources*ResourceRequirements "
        "volumeMounts?[VolumeMountStatus user*ContainerUser allocatedResourcesStatus?[ResourceStatus "
        "stopSignal*s"
    ),
    "ContainerUser": "linux*LinuxContainerUser",
    "DaemonEndpoint": "Port:i",
    "Deployment": "kind?s apiVersion?s metadata?ObjectMeta spec?DeploymentSpec status?DeploymentStatus",
    "DeploymentCondition": "type:s status:s lastUpdateTime?t lastTransitionTime?t reason?s message?s",
    "DeploymentSpec": (
        "replicas*i selector+LabelSelector template:PodTemplateSpec strategy?DeploymentStrategy "
        "minReadySeconds?i revisionHistoryLimit*i paused?b progressDeadlineSeconds*i"
    ),
    "DeploymentStatus": (
        "observedGeneration?i replicas?i updatedReplicas?i readyReplicas?i availableReplicas?i "
        "unavailableReplicas?i terminatingReplicas*i conditions?[DeploymentCondition collisionCount*i"
    ),
    "DeploymentStrategy": "type?s rollingUpdate*RollingUpdateDeployment",
    "DownwardAPIProjection": "items?[DownwardAPIVolumeFile",
    "DownwardAPIVolumeFile": "path:s fieldRef*ObjectFieldSelector resourceFieldRef*ResourceFieldSelector mode*i",
    "DownwardAPIVolumeSource": "items?[DownwardAPIVolumeFile defaultMode*i",
    "EmptyDirVolumeSource": "medium?s sizeLimit*q",
    "Endpoint": (
        "addresses:[s conditions?EndpointConditions hostname*s targetRef*ObjectReference "
        "deprecatedTopology?{s nodeName*s zone*s hints*EndpointHints"
    ),
    "EndpointAddress": "ip:s hostname?s nodeName*s targetRef*ObjectReference",
    "EndpointConditions": "ready*b serving*b terminating*b",
    "EndpointHints": "forZones?[ForZone forNodes?[ForNode",
    "EndpointPort": "name?s port:i protocol?s appProtocol*s",
    "EndpointSlice": "kind?s apiVersion?s metadata?ObjectMeta addressType:s endpoints:[Endpoint ports:[SlicePort",
    "EndpointSubset": "addresses?[EndpointAddress notReadyAddresses?[EndpointAddress ports?[EndpointPort",
    "Endpoints": "kind?s apiVersion?s metadata?ObjectMeta subsets?[EndpointSubset",
    "EnvFromSource": "prefix?s configMapRef*ConfigMapEnvSource secretRef*SecretEnvSource",
    "EnvVar": "name:s value?s valueFrom*EnvVarSource",
    "EnvVarSource": (
        "fieldRef*ObjectFieldSelector resourceFieldRef*ResourceFieldSelector "
        "configMapKeyRef*ConfigMapKeySelector secretKeyRef*SecretKeySelector fileKeyRef*FileKeySelector"
    ),
    "EphemeralContainer": (
        "name:s image?s command?[s args?[s workingDir?s ports?[ContainerPort envFrom?[EnvFromSource "
        "env?[EnvVar resources?ResourceRequirements resizePolicy?[ContainerResizePolicy restartPolicy*s "
        "restartPolicyRules?[ContainerRestartRule volumeMounts?[VolumeMount volumeDevices?[VolumeDevice "
        "livenessProbe*Probe readinessProbe*Probe startupProbe*Probe lifecycle*Lifecycle "
        "terminationMessagePath?s terminationMessagePolicy?s imagePullPolicy?s "
        "securityContext*SecurityContext stdin?b stdinOnce?b tty?b targetContainerName?s"
    ),
    "EphemeralVolumeSource": "volumeClaimTemplate*PersistentVolumeClaimTemplate",
    "Event": (
        "kind?s apiVersion?s metadata:ObjectMeta involvedObject:ObjectReference reason?s message?s "
        "source?EventSource firstTimestamp?t lastTimestamp?t count?i type?s eventTime?u "
        "series*EventSeries action?s related*ObjectReference reportingComponent:s reportingInstance:s"
    ),
    "EventSeries": "count?i lastObservedTime?u",
    "EventSource": "component?s host?s",
    "ExecAction": "command?[s",
    "FCVolumeSource": "targetWWNs?[s lun*i fsType?s readOnly?b wwids?[s",
    "FileKeySelector": "volumeName:s path:s key:s optional*b",
    "FlexVolumeSource": "driver:s fsType?s secretRef*LocalObjectReference readOnly?b options?{s",
    "FlockerVolumeSource": "datasetName?s datasetUUID?s",
    "ForNode": "name:s",
    "ForZone": "name:s",
    "GCEPersistentDiskVolumeSource": "pdName:s fsType?s partition?i readOnly?b",
    "GRPCAction": "port:i service+s",
    "GitRepoVolumeSource": "repository:s revision?s directory?s",
    "GlusterfsVolumeSource": "endpoints:s path:s readOnly?b",
    "HTTPGetAction": "path?s port:p host?s scheme?s httpHeaders?[HTTPHeader",
    "HTTPHeader": "name:s value:s",
    "HostAlias": "ip:s hostnames?[s",
    "HostIP": "ip:s",
    "HostPathVolumeSource": "path:s type*s",
    "IPBlock": "cidr:s except?[s",
    "ISCSIVolumeSource": (
        "targetPortal:s iqn:s lun:i iscsiInterface?s fsType?s readOnly?b portals?[s chapAuthDiscovery?b "
        "chapAuthSession?b secretRef*LocalObjectReference initiatorName*s"
    ),
    "ImageVolumeSource": "reference?s pullPolicy?s",
    "ImageVolumeStatus": "imageRef?s",
    "KeyToPath": "key:s path:s mode*i",
    "LabelSelector": "matchLabels?{s matchExpressions?[LabelSelectorRequirement",
    "LabelSelectorRequirement": "key:s operator:s values?[s",
    "Lease": "kind?s apiVersion?s metadata?ObjectMeta spec?LeaseSpec",
    "LeaseSpec": (
        "holderIdentity*s leaseDurationSeconds*i acquireTime*u renewTime*u leaseTransitions*i strategy*s "
        "preferredHolder*s"
    ),
    "Lifecycle": "postStart*LifecycleHandler preStop*LifecycleHandler stopSignal*s",
    "LifecycleHandler": "exec*ExecAction httpGet*HTTPGetAction tcpSocket*TCPSocketAction sleep*SleepAction",
    "LinuxContainerUser": "uid:i gid:i supplementalGroups?[i",
    "LoadBalancerIngress": "ip?s hostname?s ipMode*s ports?[PortStatus",
    "LoadBalancerStatus": "ingress?[LoadBalancerIngress",
    "LocalObjectReference": "name?s",
    "ManagedFieldsEntry": "manager?s operation?s apiVersion?s time*t fieldsType?s fieldsV1*r subresource?s",
    "NFSVolumeSource": "server:s path:s readOnly?b",
    "Namespace": "kind?s apiVersion?s metadata?ObjectMeta spec?NamespaceSpec status?NamespaceStatus",
    "NamespaceCondition": "type:s status:s lastTransitionTime?t reason?s message?s",
    "NamespaceSpec": "finalizers?[s",
    "NamespaceStatus": "phase?s conditions?[NamespaceCondition",
    "NetworkPolicy": "kind?s apiVersion?s metadata?ObjectMeta spec?NetworkPolicySpec",
    "NetworkPolicyEgressRule": "ports?[NetworkPolicyPort to?[NetworkPolicyPeer",
    "NetworkPolicyIngressRule": "ports?[NetworkPolicyPort from?[NetworkPolicyPeer",
    "NetworkPolicyPeer": "podSelector*LabelSelector namespaceSelector*LabelSelector ipBlock*IPBlock",
    "NetworkPolicyPort": "protocol*s port*p endPort*i",
    "NetworkPolicySpec": (
        "podSelector:LabelSelector ingress?[NetworkPolicyIngressRule egress?[NetworkPolicyEgressRule policyTypes?[s"
    ),
    "Node": "kind?s apiVersion?s metadata?ObjectMeta spec?NodeSpec status?NodeStatus",
    "NodeAddress": "type:s address:s",
    "NodeAffinity": (
        "requiredDuringSchedulingIgnoredDuringExecution*NodeSelector "
        "preferredDuringSchedulingIgnoredDuringExecution?[PreferredSchedulingTerm"
    ),
    "NodeAllocatableResourceClaimStatus": "resourceClaimName:s containers?[s resources:{q",
    "NodeCondition": "type:s status:s lastHeartbeatTime?t lastTransitionTime?t reason?s message?s",
    "NodeConfigSource": "configMap*ConfigMapNodeConfigSource",
    "NodeConfigStatus": "assigned*NodeConfigSource active*NodeConfigSource lastKnownGood*NodeConfigSource error?s",
    "NodeDaemonEndpoints": "kubeletEndpoint?DaemonEndpoint",
    "NodeFeatures": "supplementalGroupsPolicy*b",
    "NodeRuntimeHandler": "name:s features*NodeRuntimeHandlerFeatures",
    "NodeRuntimeHandlerFeatures": "recursiveReadOnlyMounts*b userNamespaces*b",
    "NodeSelector": "nodeSelectorTerms:[NodeSelectorTerm",
    "NodeSelectorRequirement": "key:s operator:s values?[s",
    "NodeSelectorTerm": "matchExpressions?[NodeSelectorRequirement matchFields?[NodeSelectorRequirement",
    "NodeSpec": (
        "podCIDR?s podCIDRs?[s providerID?s unschedulable?b taints?[Taint configSource*NodeConfigSource externalID?s"
    ),
    "NodeStatus": (
        "capacity?{q allocatable?{q phase?s conditions?[NodeCondition addresses?[NodeAddress "
        "daemonEndpoints?NodeDaemonEndpoints nodeInfo?NodeSystemInfo images?[ContainerImage "
        "volumesInUse?[s volumesAttached?[AttachedVolume config*NodeConfigStatus "
        "runtimeHandlers?[NodeRuntimeHandler features*NodeFeatures declaredFeatures?[s"
    ),
    "NodeSwapStatus": "capacity*i",
    "NodeSystemInfo": (
        "machineID:s systemUUID:s bootID:s kernelVersion:s osImage:s containerRuntimeVersion:s "
        "kubeletVersion:s kubeProxyVersion:s operatingSystem:s architecture:s swap*NodeSwapStatus"
    ),
    "ObjectFieldSelector": "apiVersion?s fieldPath:s",
    "ObjectMeta": (
        "name?s generateName?s namespace?s selfLink?s uid?s resourceVersion?s generation?i "
        "creationTimestamp~t deletionTimestamp*t deletionGracePeriodSeconds*i labels?{s annotations?{s "
        "ownerReferences?[OwnerReference finalizers?[s managedFields?[ManagedFieldsEntry"
    ),
    "ObjectReference": "kind?s namespace?s name?s uid?s apiVersion?s resourceVersion?s fieldPath?s",
    "OwnerReference": "apiVersion:s kind:s name:s uid:s controller*b blockOwnerDeletion*b",
    "PersistentVolumeClaimSpec": (
        "accessModes?[s selector*LabelSelector resources?VolumeResourceRequirements volumeName?s "
        "storageClassName*s volumeMode*s dataSource*TypedLocalObjectReference "
        "dataSourceRef*TypedObjectReference volumeAttributesClassName*s"
    ),
    "PersistentVolumeClaimTemplate": "metadata?ObjectMeta spec:PersistentVolumeClaimSpec",
    "PersistentVolumeClaimVolumeSource": "claimName:s readOnly?b",
    "PhotonPersistentDiskVolumeSource": "pdID:s fsType?s",
    "Pod": "kind?s apiVersion?s metadata?ObjectMeta spec?PodSpec status?PodStatus",
    "PodAffinity": (
        "requiredDuringSchedulingIgnoredDuringExecution?[PodAffinityTerm "
        "preferredDuringSchedulingIgnoredDuringExecution?[WeightedPodAffinityTerm"
    ),
    "PodAffinityTerm": (
        "labelSelector*LabelSelector namespaces?[s topologyKey:s namespaceSelector*LabelSelector "
        "matchLabelKeys?[s mismatchLabelKeys?[s"
    ),
    "PodAntiAffinity": (
        "requiredDuringSchedulingIgnoredDuringExecution?[PodAffinityTerm "
        "preferredDuringSchedulingIgnoredDuringExecution?[WeightedPodAffinityTerm"
    ),
    "PodCertificateProjection": (
        "signerName?s keyType?s maxExpirationSeconds*i credentialBundlePath?s keyPath?s "
        "certificateChainPath?s userAnnotations?{s"
    ),
    "PodCondition": "type:s observedGeneration?i status:s lastProbeTime?t lastTransitionTime?t reason?s message?s",
    "PodDNSConfig": "nameservers?[s searches?[s options?[PodDNSConfigOption",
    "PodDNSConfigOption": "name?s value*s",
    "PodExtendedResourceClaimStatus": "requestMappings:[ContainerExtendedResourceRequest resourceClaimName:s",
    "PodIP": "ip:s",
    "PodOS": "name:s",
    "PodReadinessGate": "conditionType:s",
    "PodResourceClaim": "name:s resourceClaimName*s resourceClaimTemplateName*s",
    "PodResourceClaimStatus": "name:s resourceClaimName*s",
    "PodSchedulingGate": "name:s",
    "PodSchedulingGroup": "podGroupName*s",
    "PodSecurityContext": (
        "seLinuxOptions*SELinuxOptions windowsOptions*WindowsSecurityContextOptions runAsUser*i "
        "runAsGroup*i runAsNonRoot*b supplementalGroups?[i supplementalGroupsPolicy*s fsGroup*i "
        "sysctls?[Sysctl fsGroupChangePolicy*s seccompProfile*SeccompProfile "
        "appArmorProfile*AppArmorProfile seLinuxChangePolicy*s"
    ),
    "PodSpec": (
        "volumes?[Volume initContainers?[Container containers:[Container "
        "ephemeralContainers?[EphemeralContainer restartPolicy?s terminationGracePeriodSeconds*i "
        "activeDeadlineSeconds*i dnsPolicy?s nodeSelector?{s serviceAccountName?s serviceAccount?s "
        "automountServiceAccountToken*b nodeName?s hostNetwork?b hostPID?b hostIPC?b "
        "shareProcessNamespace*b securityContext*PodSecurityContext "
        "imagePullSecrets?[LocalObjectReference hostname?s subdomain?s affinity*Affinity schedulerName?s "
        "tolerations?[Toleration hostAliases?[HostAlias priorityClassName?s priority*i "
        "dnsConfig*PodDNSConfig readinessGates?[PodReadinessGate runtimeClassName*s enableServiceLinks*b "
        "preemptionPolicy*s overhead?{q topologySpreadConstraints?[TopologySpreadConstraint "
        "setHostnameAsFQDN*b os*PodOS hostUsers*b schedulingGates?[PodSchedulingGate "
        "resourceClaims?[PodResourceClaim resources*ResourceRequirements hostnameOverride*s "
        "schedulingGroup*PodSchedulingGroup"
    ),
    "PodStatus": (
        "observedGeneration?i phase?s conditions?[PodCondition message?s reason?s nominatedNodeName?s "
        "hostIP?s hostIPs?[HostIP podIP?s podIPs?[PodIP startTime*t "
        "initContainerStatuses?[ContainerStatus containerStatuses?[ContainerStatus qosClass?s "
        "ephemeralContainerStatuses?[ContainerStatus resize?s "
        "resourceClaimStatuses?[PodResourceClaimStatus "
        "extendedResourceClaimStatus*PodExtendedResourceClaimStatus allocatedResources?{q "
        "resources*ResourceRequirements "
        "nodeAllocatableResourceClaimStatuses?[NodeAllocatableResourceClaimStatus"
    ),
    "PodTemplateSpec": "metadata?ObjectMeta spec?PodSpec",
    "PortStatus": "port:i protocol:s error*s",
    "PortworxVolumeSource": "volumeID:s fsType?s readOnly?b",
    "PreferredSchedulingTerm": "weight:i preference:NodeSelectorTerm",
    "Probe": (
        "exec*ExecAction httpGet*HTTPGetAction tcpSocket*TCPSocketAction grpc*GRPCAction "
        "initialDelaySeconds?i timeoutSeconds?i periodSeconds?i successThreshold?i failureThreshold?i "
        "terminationGracePeriodSeconds*i"
    ),
    "ProjectedVolumeSource": "sources:[VolumeProjection defaultMode*i",
    "QuobyteVolumeSource": "registry:s volume:s readOnly?b user?s group?s tenant?s",
    "RBDVolumeSource": (
        "monitors:[s image:s fsType?s pool?s user?s keyring?s secretRef*LocalObjectReference readOnly?b"
    ),
    "ReplicaSet": "kind?s apiVersion?s metadata?ObjectMeta spec?ReplicaSetSpec status?ReplicaSetStatus",
    "ReplicaSetCondition": "type:s status:s lastTransitionTime?t reason?s message?s",
    "ReplicaSetSpec": "replicas*i minReadySeconds?i selector+LabelSelector template?PodTemplateSpec",
    "ReplicaSetStatus": (
        "replicas:i fullyLabeledReplicas?i readyReplicas?i availableReplicas?i terminatingReplicas*i "
        "observedGeneration?i conditions?[ReplicaSetCondition"
    ),
    "ResourceClaim": "name:s request?s",
    "ResourceFieldSelector": "containerName?s resource:s divisor?q",
    "ResourceHealth": "resourceID:s health?s message*s",
    "ResourceRequirements": "limits?{q requests?{q claims?[ResourceClaim",
    "ResourceStatus": "name:s resources?[ResourceHealth",
    "RollingUpdateDeployment": "maxUnavailable*p maxSurge*p",
    "SELinuxOptions": "user?s role?s type?s level?s",
    "Scale": "kind?s apiVersion?s metadata?ObjectMeta spec?ScaleSpec status?ScaleStatus",
    "ScaleIOVolumeSource": (
        "gateway:s system:s secretRef+LocalObjectReference sslEnabled?b protectionDomain?s storagePool?s "
        "storageMode?s volumeName?s fsType?s readOnly?b"
    ),
    "ScaleSpec": "replicas?i",
    "ScaleStatus": "replicas:i selector?s",
    "SeccompProfile": "type:s localhostProfile*s",
    "Secret": "kind?s apiVersion?s metadata?ObjectMeta immutable*b data?{y stringData?{s type?s",
    "SecretEnvSource": "name?s optional*b",
    "SecretKeySelector": "name?s key:s optional*b",
    "SecretProjection": "name?s items?[KeyToPath optional*b",
    "SecretVolumeSource": "secretName?s items?[KeyToPath defaultMode*i optional*b",
    "SecurityContext": (
        "capabilities*Capabilities privileged*b seLinuxOptions*SELinuxOptions "
        "windowsOptions*WindowsSecurityContextOptions runAsUser*i runAsGroup*i runAsNonRoot*b "
        "readOnlyRootFilesystem*b allowPrivilegeEscalation*b procMount*s seccompProfile*SeccompProfile "
        "appArmorProfile*AppArmorProfile"
    ),
    "Service": "kind?s apiVersion?s metadata?ObjectMeta spec?ServiceSpec status?ServiceStatus",
    "ServiceAccount": (
        "kind?s apiVersion?s metadata?ObjectMeta secrets?[ObjectReference "
        "imagePullSecrets?[LocalObjectReference automountServiceAccountToken*b"
    ),
    "ServiceAccountTokenProjection": "audience?s expirationSeconds*i path:s",
    "ServicePort": "name?s protocol?s appProtocol*s port:i targetPort?p nodePort?i",
    "ServiceSpec": (
        "ports?[ServicePort selector?{s clusterIP?s clusterIPs?[s type?s externalIPs?[s sessionAffinity?s "
        "loadBalancerIP?s loadBalancerSourceRanges?[s externalName?s externalTrafficPolicy?s "
        "healthCheckNodePort?i publishNotReadyAddresses?b sessionAffinityConfig*SessionAffinityConfig "
        "ipFamilies?[s ipFamilyPolicy*s allocateLoadBalancerNodePorts*b loadBalancerClass*s "
        "internalTrafficPolicy*s trafficDistribution*s"
    ),
    "ServiceStatus": "loadBalancer?LoadBalancerStatus conditions?[Condition",
    "SessionAffinityConfig": "clientIP*ClientIPConfig",
    "SleepAction": "seconds:i",
    "SlicePort": "name*s protocol*s port*i appProtocol*s",
    "StorageOSVolumeSource": "volumeName?s volumeNamespace?s fsType?s readOnly?b secretRef*LocalObjectReference",
    "Sysctl": "name:s value:s",
    "TCPSocketAction": "port:p host?s",
    "Taint": "key:s value?s effect:s timeAdded*t",
    "Toleration": "key?s operator?s value?s effect?s tolerationSeconds*i",
    "TopologySpreadConstraint": (
        "maxSkew:i topologyKey:s whenUnsatisfiable:s labelSelector*LabelSelector minDomains*i "
        "nodeAffinityPolicy*s nodeTaintsPolicy*s matchLabelKeys?[s"
    ),
    "TypedLocalObjectReference": "apiGroup+s kind:s name:s",
    "TypedObjectReference": "apiGroup+s kind:s name:s namespace*s",
    "Volume": (
        "name:s hostPath*HostPathVolumeSource emptyDir*EmptyDirVolumeSource "
        "gcePersistentDisk*GCEPersistentDiskVolumeSource "
        "awsElasticBlockStore*AWSElasticBlockStoreVolumeSource gitRepo*GitRepoVolumeSource "
        "secret*SecretVolumeSource nfs*NFSVolumeSource iscsi*ISCSIVolumeSource "
        "glusterfs*GlusterfsVolumeSource persistentVolumeClaim*PersistentVolumeClaimVolumeSource "
        "rbd*RBDVolumeSource flexVolume*FlexVolumeSource cinder*CinderVolumeSource "
        "cephfs*CephFSVolumeSource flocker*FlockerVolumeSource downwardAPI*DownwardAPIVolumeSource "
        "fc*FCVolumeSource azureFile*AzureFileVolumeSource configMap*ConfigMapVolumeSource "
        "vsphereVolume*VsphereVirtualDiskVolumeSource quobyte*QuobyteVolumeSource "
        "azureDisk*AzureDiskVolumeSource photonPersistentDisk*PhotonPersistentDiskVolumeSource "
        "projected*ProjectedVolumeSource portworxVolume*PortworxVolumeSource scaleIO*ScaleIOVolumeSource "
        "storageos*StorageOSVolumeSource csi*CSIVolumeSource ephemeral*EphemeralVolumeSource "
        "image*ImageVolumeSource"
    ),
    "VolumeDevice": "name:s devicePath:s",
    "VolumeMount": "name:s readOnly?b recursiveReadOnly*s mountPath:s subPath?s mountPropagation*s subPathExpr?s",
    "VolumeMountStatus": "name:s mountPath:s readOnly?b recursiveReadOnly*s volumeStatus*VolumeStatus",
    "VolumeProjection": (
        "secret*SecretProjection downwardAPI*DownwardAPIProjection configMap*ConfigMapProjection "
        "serviceAccountToken*ServiceAccountTokenProjection "
        "clusterTrustBundle*ClusterTrustBundleProjection podCertificate*PodCertificateProjection"
    ),
    "VolumeResourceRequirements": "limits?{q requests?{q",
    "VolumeStatus": "image*ImageVolumeStatus",
    "VsphereVirtualDiskVolumeSource": "volumePath:s fsType?s storagePolicyName?s storagePolicyID?s",
    "WeightedPodAffinityTerm": "weight:i podAffinityTerm:PodAffinityTerm",
    "WindowsSecurityContextOptions": "gmsaCredentialSpecName*s gmsaCredentialSpec*s runAsUserName*s hostProcess*b",
}
