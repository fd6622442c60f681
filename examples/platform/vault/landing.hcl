path "secret/data/platform/clients/landing" { capabilities = ["read"] }
path "secret/data/platform/landing" { capabilities = ["read"] }
