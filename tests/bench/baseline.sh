#!/usr/bin/env bash
# The same cluster by a bare shell script with the same binaries: the yardstick of `up`.
# It makes no promise: nothing is verified, repaired, hardened or resumed.
#
# baseline.sh FILES IMAGES USER KEY KNOWN_HOSTS ENDPOINT_ADDRESS ENDPOINT_PORT VERSION ADDRESS...
# FILES holds the bundle's plain files by name, IMAGES its images as archives.
set -euo pipefail
files=$1 images=$2 user=$3 key=$4 known=$5 vip=$6 port=$7 version=$8
shift 8
addresses=("$@")
first=$1
here=$(mktemp -d)
trap 'rm -rf -- "$here"' EXIT

options=(-F none -i "$key" -o "UserKnownHostsFile=$known" -o BatchMode=yes)
on() { ssh "${options[@]}" "$user@$1" sudo bash -s; }
send() { tar -C "$2" -cf - . | ssh "${options[@]}" "$user@$1" sudo tar -C "$3" --no-same-owner -xf -; }
everywhere() {
    local pids=() address
    for address in "${addresses[@]}"; do "$1" "$address" & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid"; done
}

prepare() {
    on "$1" <<'END' >/dev/null
set -e
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq -y install haproxy keepalived conntrack ethtool socat nftables chrony
printf 'net.ipv4.ip_forward=1\nnet.ipv4.ip_nonlocal_bind=1\n' > /etc/sysctl.d/95-k8s.conf
sysctl -qp /etc/sysctl.d/95-k8s.conf
mkdir -p /opt/cni/bin /etc/containerd /etc/kubernetes /root/images
END
    send "$1" "$files" /usr/local/bin
    send "$1" "$images" /root/images
    {
        servers=
        for address in "${addresses[@]}"; do
            servers+="  server s${address##*.} $address:6443 check check-ssl verify none"$'\n'
        done
        peers=$(printf '%s\n' "${addresses[@]}" | grep -vFx "$1")
        cat <<END
cat > /etc/haproxy/haproxy.cfg <<'CFG'
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
frontend api
  bind $vip:$port
  default_backend api
backend api
  option httpchk GET /readyz
  default-server inter 1s fall 2 rise 1
$servers
CFG
cat > /etc/keepalived/keepalived.conf <<'CFG'
vrrp_instance api {
  interface eth0
  virtual_router_id 61
  priority ${1##*.}
  advert_int 1
  unicast_peer {
$peers
  }
  virtual_ipaddress {
    $vip/32
  }
}
CFG
systemctl restart haproxy keepalived
cd /usr/local/bin
for name in cni-*; do mv "\$name" "/opt/cni/bin/\${name#cni-}"; done
chmod 755 /usr/local/bin/* /opt/cni/bin/*
cat > /etc/containerd/config.toml <<'CFG'
version = 3
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '$(cat "$images/pause.reference")'
CFG
cat > /etc/systemd/system/containerd.service <<'CFG'
[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
[Install]
WantedBy=multi-user.target
CFG
cat > /etc/systemd/system/kubelet.service <<'CFG'
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \$KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=2
[Install]
WantedBy=multi-user.target
CFG
systemctl daemon-reload
systemctl enable -q --now containerd kubelet
for archive in /root/images/*.tar; do ctr -n k8s.io images import "\$archive" > /dev/null; done
END
    } | on "$1"
}

everywhere prepare

on "$first" >"$here/init" <<END
cat > /root/kubeadm.yaml <<'CFG'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  taints: []
  ignorePreflightErrors: [all]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$version
controlPlaneEndpoint: $vip:$port
etcd: {local: {imageTag: $(cat "$images/etcd.tag")}}
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/16}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
featureGates: {KubeletInUserNamespace: true}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
CFG
kubeadm init --config /root/kubeadm.yaml --upload-certs --skip-phases=addon/kube-proxy >/root/init.log 2>&1
kubeadm init phase upload-certs --upload-certs --config /root/kubeadm.yaml 2>/dev/null | tail -1
kubeadm token create --print-join-command 2>/dev/null
END
certificate_key=$(sed -n 1p "$here/init") join=$(sed -n 2p "$here/init")
for address in "${addresses[@]:1}"; do
    on "$address" <<<"$join --control-plane --certificate-key $certificate_key --ignore-preflight-errors=all >/root/join.log 2>&1"
done
on "$first" <<END
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl taint nodes --all node-role.kubernetes.io/control-plane- >/dev/null 2>&1 || :
helm template cilium /usr/local/bin/cilium-chart --namespace kube-system \
    --set kubeProxyReplacement=true,envoy.enabled=false,l7Proxy=false,image.useDigest=false \
    --set operator.image.useDigest=false,securityContext.privileged=true \
    --set k8sServiceHost=$vip,k8sServicePort=$port >/root/cilium.yaml
kubectl apply --server-side -f /root/cilium.yaml >/dev/null
kubectl wait node --all --for=condition=Ready --timeout=600s >/dev/null
kubectl -n kube-system rollout status daemonset/cilium --timeout=600s >/dev/null
kubectl -n kube-system rollout status deployment/coredns --timeout=600s >/dev/null
END
