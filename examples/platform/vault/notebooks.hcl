path "secret/data/platform/clients/notebooks" { capabilities = ["read"] }
path "secret/data/platform/notebooks" { capabilities = ["read"] }
