path "secret/data/platform/reader" { capabilities = ["read"] }
path "secret/data/platform/clients/landing" { capabilities = ["read"] }
path "secret/data/platform/clients/notebooks" { capabilities = ["read"] }
path "secret/data/postgresql/platform" { capabilities = ["read"] }
