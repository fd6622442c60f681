module provision.invalid/cilium

go 1.26.0

require github.com/cilium/cilium v1.20.2

replace github.com/osrg/gobgp/v4 => github.com/osrg/gobgp/v4 v4.8.0

replace sigs.k8s.io/mcs-api/controllers => sigs.k8s.io/mcs-api/controllers v0.0.0-20260403094305-4b9911b73f14

replace sigs.k8s.io/controller-tools => github.com/cilium/controller-tools v0.21.0-1
